"""What the server answers, in the shapes that the clients expect; made once, before anything is measured."""

import json
from typing import Any

PAGE = 100  # items


def connection(number: int) -> dict[str, Any]:
    """A connection as the Management API shows it."""
    key, host = f"con_{number:024}", "db.prisma.io"
    return {
        "id": key,
        "type": "connection",
        "url": f"https://api.prisma.io/v1/connections/{key}",
        "name": f"reader {number}",
        "createdAt": "2025-11-02T09:30:12.345Z",
        "kind": "postgres",
        "endpoints": {
            "direct": {"host": host, "port": 5432},
            "pooled": {"host": f"pooled.{host}", "port": 5432},
            "accelerate": {"host": "accelerate.prisma-data.net", "port": 443},
        },
        "directConnection": {"host": host, "pass": f"secret-{number}", "user": f"user-{number}"},
        "database": {"id": "db_1", "url": "https://api.prisma.io/v1/databases/db_1", "name": "shop"},
    }


def zone(number: int) -> dict[str, Any]:
    """A zone as Cloudflare's API shows it, of much the same size as a connection."""
    return {
        "id": f"{number:032}",
        "account": {"id": f"{number:032}", "name": "shop"},
        "activated_on": "2025-11-02T09:30:12.345Z",
        "created_on": "2025-11-02T09:30:12.345Z",
        "development_mode": 0,
        "meta": {"cdn_only": False, "dns_only": False, "page_rule_quota": 100, "phishing_detected": False, "step": 2},
        "modified_on": "2025-11-02T09:30:12.345Z",
        "name": f"shop-{number}.example",
        "name_servers": ["bob.ns.cloudflare.com", "lola.ns.cloudflare.com"],
        "owner": {"id": f"{number:032}", "name": "shop", "type": "organization"},
        "plan": {"id": f"{number:032}", "currency": "USD", "is_subscribed": False, "name": "Free", "price": 0},
        "paused": False,
        "status": "active",
        "type": "full",
    }


def model(number: int) -> dict[str, Any]:
    """A model as OpenAI's API shows it: the smallest of the three."""
    return {"id": f"model-{number}", "created": 1762075812, "object": "model", "owned_by": "shop"}


def page(items: int, next_cursor: str | None = None) -> bytes:
    """A page of connections."""
    pagination = {"nextCursor": next_cursor, "hasMore": next_cursor is not None}
    return _json({"data": [connection(number) for number in range(items)], "pagination": pagination})


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def key(path: bytes) -> bytes:
    """Where the answer to a path stands in FIXED: clients ask for another id each time, so that no cache flatters."""
    return path.rstrip(b"0123456789")


ONE = _json({"data": connection(1)})
MANY = page(PAGE)

# What a GET of each path is answered with, less the number that the path ends in.
FIXED = {
    b"/v1/connections/con_": ONE,
    b"/v1/connections?limit=": MANY,
    b"/cloudflare/zones/zone_": _json({"success": True, "errors": [], "messages": [], "result": zone(1)}),
    b"/cloudflare/zones?per_page=": _json(
        {
            "success": True,
            "errors": [],
            "messages": [],
            "result": [zone(number) for number in range(PAGE)],
            "result_info": {"page": 1, "per_page": PAGE, "count": PAGE, "total_count": PAGE, "total_pages": 1},
        }
    ),
    b"/openai/models/model-": _json(model(1)),
    b"/openai/models": _json({"object": "list", "data": [model(number) for number in range(PAGE)]}),
}
