"""A short run of the load command; `python -m tests.processes.load` is the long one."""

import pytest

from tests.processes.load import LIFETIME, run


@pytest.mark.parametrize(("storage", "kill"), [("redis", None), ("redis", "TERM"), ("postgres", None)])
def test_no_request_fails_and_no_session_is_lost(storage: str, kill: str | None) -> None:
    report = run(seconds=5, users=20, storage=storage, kill=kill)
    assert (report.counts["failed"], report.counts["lost"], report.refused) == (0, 0, 0), report
    assert len(report.milliseconds) > 2 * report.users
    expiries = report.users * (report.seconds / (0.9 * LIFETIME) + 1)  # a tenth of a token's life is its leeway
    assert report.users / 2 < report.refreshes <= expiries
    assert kill or not report.counts["cut"]
