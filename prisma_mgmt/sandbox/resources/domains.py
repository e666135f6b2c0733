"""Custom domains: pending until their records were asked for once, verified from then on, and active within a moment.

A host name under `.invalid` never gets that far: its check fails.
"""

import re
from functools import partial
from typing import ClassVar

from prisma_mgmt.sandbox.engine import MOMENT, Call, Reply, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World, timestamp
from prisma_mgmt.sandbox.views import Sight
from prisma_mgmt.sandbox.wire import ApiError

QUOTA = 3
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOSTNAME = re.compile(rf"({LABEL}\.)+(?![0-9]+\Z){LABEL}", re.ASCII)  # an address is none
CERTIFICATE = 90 * 86_400  # seconds


@resource("domains")
class Domains(Resource):
    defaults: ClassVar[Values] = {"status": "pending_dns"}

    def show(self, sight: Sight, thing: Thing) -> Values:
        service, status = thing.holder, thing.values["status"]
        target = f"{service.values['region']}.cname.prisma-sandbox.invalid"
        failed = status == "failed"
        return {
            "computeServiceId": service.id,
            "foundryStatus": status,
            "failureReason": "The CNAME record was not found." if failed else None,
            "failureCategory": "dns" if failed else None,
            "dnsRecords": [{"type": "CNAME", "name": thing.values["hostname"], "value": target, "ttl": 300}],
        }


def _verify(world: World, domain: Thing, at: float) -> None:
    if domain.values["hostname"].endswith(".invalid"):
        domain.values["status"] = "failed"
        return
    domain.values["status"] = "provisioning_tls"
    active = {"status": "active", "certExpiresAt": timestamp(at + CERTIFICATE)}
    world.plan(at + MOMENT, domain, lambda _: domain.values.update(active))


@answers("management:services.create_domain")
def create(call: Call) -> Reply | Thing:
    service, hostname = call.it, call.fields["hostname"].lower().rstrip(".")
    if len(hostname) > 253 or not HOSTNAME.fullmatch(hostname):
        raise ApiError(400, "hostname is not the name of a host.")
    taken = next((it for it in call.world.things("domains").values() if it.values["hostname"] == hostname), None)
    if taken is not None and taken.parent is service:
        return Reply(taken, status=200)
    if taken is not None:
        raise ApiError(409, f"{hostname} is taken by another service.")
    if service.hidden["promoted"] is None:
        raise call.refuse("Nothing is promoted yet.", hint="Promote a deployment first.")
    if len(call.world.inside(service, "domains")) >= QUOTA:
        raise ApiError(429, f"A service has {QUOTA} domains at most.", code="customDomainQuotaReached")
    return call.create("domains", service, {"hostname": hostname})


@answers("management:domains.get", "management:services.list_domains")
def look(call: Call) -> Thing | list[Thing]:
    """Tell of domains with their records; those that are told for the first time still are pending in this answer."""
    now, one = call.world.clock(), call.it.kind == "domains"
    domains = [call.it] if one else call.every("domains", call.it)
    for it in domains:
        if it.values["status"] == "pending_dns":
            call.world.plan(now, it, partial(_verify, call.world, it))
    return call.it if one else domains


@answers("management:domains.retry")
def retry(call: Call) -> Thing:
    if call.it.values["status"] not in {"failed", "pending_dns"}:
        raise ApiError(409, f"The domain is {call.it.values['status']}.")
    _verify(call.world, call.it, call.world.clock())
    return call.it
