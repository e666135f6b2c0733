"""Each promise's test can fail: the line that keeps the promise is broken in a copy, and the test is seen to fail.

That takes a while, so it runs if PRISMA_MUTATIONS is set, as `nox -s soak` does. Every run checks that the lines are
there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTATIONS = [  # promise, file, what stands there, what is put there, the test that must fail
    ("S1", "session ledger", "flight.overtaken or not flight.under_way; holder is not None and holder.lives()",
     "True; False", "single_flight.py -k share_one_refresh"),
    ("S1 in threads", "ledger", "holder is not None and holder.lives()", "False", "loops.py -k threads_with"),
    ("S2", "renewal", "young = any(", "young = False and any(",
     "trouble.py -k though_the_session_is_collected"),
    ("S2 processes", "renewal", "not ((young or often)", "not (young", "trouble.py -k outdoing_each_other"),
    (
        "S2 elsewhere",
        "renewal",
        "given == hash(tokens.access_token) for",
        "True for",
        "trouble.py -k another_processs_login",
    ),
    ("S3", "work", "await self.told.wait()", "await self.task", "single_flight.py -k that_started"),
    ("S4", "renewal", "if trouble is not None and self.monotonic() < trouble.until:", "if False:",
     "trouble.py -k hundred_calls"),
    ("S4 cause", "work", "raise fresh(self._error) from self._error.__cause__", "raise fresh(self._error) from None",
     "trouble.py -k the_cause_of"),
    ("S5", "ledger", "self.blind or mark(stored) in self.before", "True", "single_flight.py -k does_not_destroy"),
    ("S7", "held", "tokens.expires_at - min(leeway,", "math.inf - min(leeway,", "fences.py -k renewed_before_the_call"),
    ("S8", "session", "await self.drain()", "pass", "fences.py -k leaves_nothing_behind"),
    ("S9", "renewal", "        self.overtaken = True", "        self.overtaken = False", "trouble.py -k never_gets"),
    ("S9 place", "held", "return self.read_at > -math.inf", "return False", "trouble.py -k wait_for_a_place"),
    ("S9 elsewhere", "session", "tokens if flight.written is self._vault.ledger.written else None", "tokens",
     "trouble.py -k another_event_loop"),
    ("S5 elsewhere", "renewal", "if self._may_write(flight, refused):", "if not flight.overtaken:",
     "model.py -k asyncio-loops"),
    ("S9 read", "session", "if self._written is self._vault.ledger.written:  # else", "if True:  # else",
     "elsewhere.py -k joins_no_read"),
    ("S9 requests", "session", "ledger.seen  #", "ledger.seen[0], self._vault.ledger.written  #",
     "elsewhere.py -k begins_during_a_login"),
    ("S10 requests", "session", "if self._vault.ledger.untried or not", "if not", "elsewhere.py -k is_a_chance"),
    ("S9 loops", "session", "if (news or self._vault.ledger.seen[0] is self._held) and", "if",
     "elsewhere.py -k read_earlier"),
    ("S9 closed", "session vault", "and not closed(self.loop.served):; if current() is not work:", ":; if False:",
     "loops.py -k come_back_after"),
    ("S10 away", "session", "if not self._serves_on():\n                raise", "if True:\n                raise",
     "elsewhere.py -k half_a_minute"),
    ("S9 httpx", "httpx_auth", "tracked.outdated(self.token)", "False", "httpx_auth.py -k waits_for_a_connection"),
    ("S10", "vault", "self.ledger.want(new, old)", "Ledger().want(new, old)",
     "fences.py -k is_used_and_stored_later"),
    ("S10 blind", "ledger", "unsaved.blind if blind is None else blind", "bool(blind)",
     "values.py -k stays_blind"),
    ("S10 logout", "vault", "stored, blind = known, True", "stored, blind = known, False",
     "storage_faults.py -k leaves_nobody"),
    ("S11", "ledger work", "not closed(self.loop) and self.process; if self._loop not in _running:",
     "self.process; if False:",
     "loops.py -k closed"),
    ("S11 cycles", "work", "self.owner = self.task = None", "pass", "loops.py -k no_cycle"),
    ("S11 handed on", "manager", "ledger_of(user, self._ledgers, self._kept, time.monotonic())", "None",
     "loops.py -k handed_on"),
    ("S15", "held", "now - self.read_at < ttl", "False", "fences.py -k serves_for_a_second"),
    ("S16", "vault", "mark(stored) not in ledger.spent", "True", "trouble.py -k never_used_again"),
    ("S16 logout", "ledger", "self.spend(stored, self.ours, unsaved", "self.spend(stored, unsaved",
     "trouble.py -k does_not_give_yet"),
    ("S16 copies", "vault", "unsaved = self.ledger.want(held, stored)", "return held", "trouble.py -k older_copy"),
    ("S17", "work", "_LastingTask if self._lasting else asyncio.Task[None]", "asyncio.Task[None]",
     "ends.py -k timeout-asyncio-None"),
    ("S17 writes", "vault", "return await uncut(call, scope)", "return await call()", "loops.py -k cuts_no_write"),
    ("S17 threads", "work", "any(one.goes_on() for", "any(False for", "ends.py -k thread"),
    ("S17 trio", "work", "shield=self._lasting", "shield=False", "ends.py -k plain"),
    ("S9 slow read", "session", "if self._held is before:", "if True:", "fences.py -k gives_nobody"),
    ("S18", "renewal", "        self.overtaken = True", "        self.overtaken = False", "model.py -k asyncio-own"),
    ("storage calls", "storage/rooms", "min(usual, max(1, most // 2))", "10_000",
     "loops.py -k five_hundred"),
]  # fmt: skip


def pieces(file: str, *texts: str) -> Iterator[tuple[str, ...]]:
    """Each file with its part of every text."""
    return zip(file.split(), *(text.split("; ") for text in texts), strict=True)


@pytest.mark.parametrize(("file", "line"), [one[1:3] for one in MUTATIONS], ids=[m[0] for m in MUTATIONS])
def test_each_line_stands_there(file: str, line: str) -> None:
    for name, found in pieces(file, line):
        assert found in (ROOT / "prisma_mgmt" / "auth" / f"{name}.py").read_text(encoding="utf-8")


@pytest.mark.skipif("PRISMA_MUTATIONS" not in os.environ, reason="set PRISMA_MUTATIONS to run it")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("file", "line", "broken", "test"), [one[1:] for one in MUTATIONS], ids=[m[0] for m in MUTATIONS]
)
def test_a_broken_line_is_noticed(file: str, line: str, broken: str, test: str, tmp_path: Path) -> None:
    for folder in ("prisma_mgmt", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "spec", "data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, found, put in pieces(file, line, broken):
        source = tmp_path / "prisma_mgmt" / "auth" / f"{name}.py"
        source.write_text(source.read_text(encoding="utf-8").replace(found, put), encoding="utf-8")
    name, *chosen = test.split()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout", "20", f"tests/session/test_{name}", *chosen]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert run.returncode == 1, f"nothing failed: {run.stdout[-500:]} {run.stderr[-500:]}"
    assert "failed" in run.stdout
