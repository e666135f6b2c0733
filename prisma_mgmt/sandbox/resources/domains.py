"""Custom domains: pending until their records were asked for once, verified from then on, and active within a moment.

A host name under `.invalid` never gets that far: its check fails.
"""

import re

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
    def made(self, call: Call, thing: Thing) -> None:
        thing.hidden.update(asked=0, since=thing.made_at)

    def settle(self, world: World, thing: Thing) -> None:
        done = world.clock() >= thing.hidden["since"] + MOMENT
        if thing.hidden["asked"] < 2:  # the answer that tells the records for the first time says pending, too
            status = "pending_dns"
        elif thing.values["hostname"].endswith(".invalid"):
            status = "failed"
        else:
            status = "active" if done else "provisioning_tls"
        thing.hidden["status"] = status

    def show(self, sight: Sight, thing: Thing) -> Values:
        status, service = thing.hidden["status"], thing.holder
        failed, active = status == "failed", status == "active"
        record = {"type": "CNAME", "name": thing.values["hostname"], "ttl": 300}
        target = f"{service.values['region']}.cname.prisma-sandbox.invalid"
        return {
            "computeServiceId": service.id,
            "status": status,
            "foundryStatus": status,
            "failureReason": "The CNAME record was not found." if failed else None,
            "failureCategory": "dns" if failed else None,
            "certExpiresAt": timestamp(thing.hidden["since"] + CERTIFICATE) if active else None,
            "dnsRecords": [{**record, "value": target}],
        }


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
    one = call.it.kind == "domains"
    domains = [call.it] if one else call.every("domains", call.it)
    for it in domains:
        it.hidden["asked"] += 1
        if it.hidden["asked"] == 1:
            it.hidden["since"] = call.world.clock()
    return call.it if one else domains


@answers("management:domains.retry")
def retry(call: Call) -> Thing:
    if call.it.hidden["status"] not in {"failed", "pending_dns"}:
        raise ApiError(409, f"The domain is {call.it.hidden['status']}.")
    call.it.hidden.update(asked=2, since=call.world.clock())
    return call.it
