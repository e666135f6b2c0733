"""Another client at the sandbox: Prisma's own SDK for TypeScript logs in, calls and refreshes."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prisma_mgmt.sandbox import Sandbox
from tests.kit.servers import program

HERE = Path(__file__).parent
PACKAGES = HERE.parents[1] / "benchmarks" / "node"


@pytest.fixture(scope="module")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, beside the packages that it needs."""
    folder, npm = tmp_path_factory.mktemp("typescript"), program("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    if installed.returncode:
        reason = f"npm cannot install the TypeScript SDK: {installed.stderr[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(shutil.copy(HERE / "typescript.mjs", folder))


@pytest.mark.timeout(150)
def test_the_typescript_sdk_logs_in_and_makes_ten_calls(program_file: Path) -> None:
    with Sandbox() as sandbox:
        command = [program("node"), str(program_file)]
        environment = {**os.environ, **sandbox.environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        assert (len(told["statuses"]), {status // 100 for status in told["statuses"]}) == (10, {2})
        assert told["workspace"] == sandbox.workspace_id
        assert told["names"] == ["store", ["store"], "main", "ready"]
        assert (told["writes"], told["stored"]) == (2, None)
        assert (sandbox.counts["exchange"], sandbox.counts["refresh"]) == (1, 1)
