"""S18: every short sequence of what can happen to a session; see model.py. `PRISMA_MODEL=6` checks longer ones."""

import logging
import os

import pytest

from tests.session.model import ALPHABETS, check

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(3600)]

LONGEST = int(os.environ.get("PRISMA_MODEL", "4"))


@pytest.mark.parametrize("kind", ALPHABETS)
async def test_no_sequence_of_renewals_logins_logouts_and_faults_breaks_a_session(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # a storage that is down is reported each time
    said: list[str] = []
    found = await check(LONGEST, kind=kind, report=said.append)
    assert said == []
    assert found["broken"] == 0
    assert found["sequences"] > 500
