"""The graph of a branch: replaced as a whole, and only by a sound one."""

import hashlib
import json

from prisma_mgmt.sandbox.engine import Call, answers
from prisma_mgmt.sandbox.state import Values


@answers("management:topology.get")
def get(call: Call) -> Values:
    found: Values = call.it.hidden.get("topology", {"nodes": [], "ports": [], "edges": []})
    return found


@answers("management:topology.replace")
def replace(call: Call) -> Values:
    graph = {key: sorted(call.fields[key], key=_order) for key in ("nodes", "ports", "edges")}
    _check(call, graph)
    text = json.dumps(graph, sort_keys=True)
    content_hash = call.fields.get("contentHash", hashlib.sha256(text.encode()).hexdigest())
    written: Values = {**graph, "contentHash": content_hash, "writtenAt": call.world.now()}
    call.it.hidden["topology"] = written
    return written


def _check(call: Call, graph: dict[str, list[Values]]) -> None:
    nodes = {one["logicalId"]: one for one in graph["nodes"]}
    ports = {_port(one) for one in graph["ports"]}
    if len(nodes) < len(graph["nodes"]) or len(ports) < len(graph["ports"]):
        raise call.refuse("A node or a port is there twice.")
    sound: set[str | None] = {None}
    for node in nodes.values():
        seen, parent = {node["logicalId"]}, node["parentLogicalId"]
        while parent not in sound:
            if parent in seen or parent not in nodes:
                raise call.refuse(f"nodes: {parent!r} is no node above {node['logicalId']!r}.")
            seen.add(parent)
            parent = nodes[parent]["parentLogicalId"]
        sound |= seen
    for port in graph["ports"]:
        if port["logicalId"] not in nodes:
            raise call.refuse(f"ports: {port['logicalId']!r} is no node.")
    for edge in graph["edges"]:
        for end in ("from", "to"):
            if _port(edge[end]) not in ports:
                raise call.refuse(f"edges: {edge[end]['name']!r} of {edge[end]['logicalId']!r} is no port.")


def _port(one: Values) -> tuple[str, str, str]:
    return one["logicalId"], one["direction"], one["name"]


def _order(one: Values) -> str:
    return json.dumps(one, sort_keys=True)
