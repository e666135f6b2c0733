"""The graph of a branch: replaced as a whole, and only by a sound one."""

import hashlib
import json

from prisma_mgmt.sandbox.engine import Call, answers
from prisma_mgmt.sandbox.state import Thing, Values


@answers("management:topology.replace")
def replace(call: Call) -> Thing:
    graph = {key: sorted(call.fields[key], key=_text) for key in ("nodes", "ports", "edges")}
    _check(call, graph)
    content_hash = call.fields.get("contentHash", hashlib.sha256(_text(graph).encode()).hexdigest())
    call.it.values.update(**graph, contentHash=content_hash, writtenAt=call.world.now())
    return call.it  # its values tell the graph


def _check(call: Call, graph: dict[str, list[Values]]) -> None:
    nodes = {one["logicalId"]: one["parentLogicalId"] for one in graph["nodes"]}
    ports = {_port(one) for one in graph["ports"]}
    if len(nodes) < len(graph["nodes"]) or len(ports) < len(graph["ports"]):
        raise call.refuse("A node or a port is there twice.")
    sound: set[str | None] = {None}
    for node, parent in nodes.items():
        seen = {node}
        while parent not in sound:
            if parent in seen or parent not in nodes:
                raise call.refuse(f"nodes: {parent!r} is no node above {node!r}.")
            seen.add(parent)
            parent = nodes[parent]
        sound |= seen
    for port in graph["ports"]:
        if port["logicalId"] not in nodes:
            raise call.refuse(f"ports: {port['logicalId']!r} is no node.")
    for end in (edge[key] for edge in graph["edges"] for key in ("from", "to")):
        if _port(end) not in ports:
            raise call.refuse(f"edges: {end['name']!r} of {end['logicalId']!r} is no port.")


def _port(one: Values) -> tuple[str, str, str]:
    return one["logicalId"], one["direction"], one["name"]


def _text(one: object) -> str:
    return json.dumps(one, sort_keys=True)
