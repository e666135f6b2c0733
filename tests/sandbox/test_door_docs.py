"""What docs/sandbox.md shows runs: its shell sessions as one, and its tests under pytest."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.sandbox.test_plugin import ANYIO_ONLY, ROOT, run

PAGE = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_shell_sessions_run_one_after_the_other(tmp_path: Path) -> None:
    sessions = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert len(sessions) == 4
    script = "set -eu\ntrap 'kill $!' EXIT\n" + "\n".join(sessions)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PRISMA_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    log = (tmp_path / "sandbox.log").read_text()
    assert [line.split()[1:4] for line in log.splitlines()] == [
        ["201", "POST", "/v1/projects"],
        ["200", "GET", "/v1/projects?limit=10"],
        ["303", "GET", re.search(r"/auth/authorize\S+", log)[0]],  # type: ignore[index]  # it is there
        ["200", "POST", "/auth/token"],
    ]
    assert '"access_token"' in done.stdout
    assert '"kind":"cut"' in done.stdout


def test_the_tests_pass(tmp_path: Path) -> None:
    files = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
    assert set(files) == {"test_tidy", "conftest"}
    told = run(tmp_path, *ANYIO_ONLY, **files)
    assert "4 passed" in told, told
