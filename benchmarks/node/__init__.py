"""The TypeScript SDK: installed here by `npm ci --prefix benchmarks/node`, measured by worker.mjs."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

NODE = ("node", "benchmarks/node/worker.mjs")
_SDK = Path(__file__).parent / "node_modules/@prisma/management-api-sdk/package.json"


def versions() -> Iterator[str]:
    """Node's version and the SDK's, where they are there."""
    try:
        said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    except FileNotFoundError:
        yield "Node missing"
    else:
        yield f"Node {said.stdout.strip().removeprefix('v')}"
    if _SDK.exists():
        yield f"@prisma/management-api-sdk {json.loads(_SDK.read_text(encoding='utf-8'))['version']}"
    else:
        yield "@prisma/management-api-sdk missing"
