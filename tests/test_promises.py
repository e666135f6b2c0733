"""The contributors' table names a test for every promise and every failure mode, and each of them is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "contributing" / "promises.md").read_text(encoding="utf-8")
ROWS: dict[str, str] = dict(re.findall(r"^\| ([SCU]?\d+) \| .* \| (.*) \|$", PAGE, re.MULTILINE))
LAST = {"S": 19, "C": 11, "U": 5, "": 68}
PROMISES = [f"{kind}{number}" for kind, last in LAST.items() for number in range(1, last + 1)]


def test_every_promise_has_a_row() -> None:
    assert sorted(ROWS) == sorted(PROMISES)


@pytest.mark.parametrize("row", PROMISES)
def test_a_row_names_tests_that_exist(row: str) -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(test_\w+)`", ROWS[row])
    assert named, f"row {row} names no test"
    missing = [name for file, name in named if f"def {name}(" not in (TESTS / file).read_text(encoding="utf-8")]
    assert missing == []
