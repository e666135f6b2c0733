"""Who is compared. A file a peer: `connect(origin)` opens its client as users would, and gives its two calls."""

from benchmarks.node import NODE
from benchmarks.rig import Subject

_HERE = "benchmarks.peers"

PRISMA = Subject(
    "prisma_mgmt[speed]",
    f"{_HERE}.prisma",
    ("prisma-mgmt", "orjson", "httptools"),
    note="typed; a connection of its own over asyncio and httptools, orjson",
)
PRISMA_PLAIN = Subject(
    "prisma_mgmt",
    f"{_HERE}.prisma",
    without=("orjson", "httptools"),
    note="typed; its own pool over httpx's connections",
)
HTTPX = Subject("httpx", f"{_HERE}.httpx_default", ("httpx", "httpcore"), note="`AsyncClient().get`, `.json()`")
HTTPX_TUNED = Subject(
    "httpx, limits raised",
    f"{_HERE}.httpx_tuned",
    note="keeps all 100 connections, which its pool compares pair by pair when they idle; no PoolTimeout",
)
AIOHTTP = Subject("aiohttp", f"{_HERE}.aiohttp_session", ("aiohttp",), note="`ClientSession().get`, `.json()`")
HTTPX_AIOHTTP = Subject(
    "httpx-aiohttp", f"{_HERE}.httpx_aiohttp_client", ("httpx-aiohttp",), note="`HttpxAiohttpClient().get`, `.json()`"
)
CLOUDFLARE = Subject(
    "cloudflare", f"{_HERE}.cloudflare_sdk", ("cloudflare", "pydantic"), note="typed: a zone, a page of 100 zones"
)
OPENAI = Subject(
    "openai",
    f"{_HERE}.openai_sdk",
    ("openai", "httpx2"),
    note="typed: a model of 90 bytes, 100 of them; over httpx2, the successor of httpx",
)
TYPESCRIPT = Subject("TypeScript SDK", program=NODE, note="`@prisma/management-api-sdk` on Node")

PEERS = (
    PRISMA,
    PRISMA_PLAIN,
    HTTPX,
    HTTPX_TUNED,
    AIOHTTP,
    HTTPX_AIOHTTP,
    CLOUDFLARE,
    OPENAI,
    TYPESCRIPT,
)

INSTALLED = {  # by what a user types
    PRISMA.name: "pip install 'prisma-mgmt[speed]'",
    PRISMA_PLAIN.name: "pip install prisma-mgmt",
    AIOHTTP.name: "pip install aiohttp",
    HTTPX.name: "pip install httpx",
}
