"""The values that a session is made of, without any I/O: Held, Unsaved, Ledger and Trouble."""

import math

import pytest
from attrs import evolve

from prisma_mgmt import AuthError, NetworkError
from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.held import Held
from prisma_mgmt.auth.ledger import Ledger, Unsaved, mark
from prisma_mgmt.auth.renewal import Trouble
from tests.kit.login import jwt

OLD, NEW, OTHER = (Tokens("wksp_1", f"access-{name}", f"refresh-{name}", 2000.0) for name in ("old", "new", "other"))


@pytest.mark.parametrize(
    ("unsaved", "stored", "due"),
    [
        (Unsaved(frozenset({mark(OLD)}), NEW), OLD, True),
        (Unsaved(frozenset({mark(OLD)}), NEW), NEW, False),
        (Unsaved(frozenset({mark(OLD)}), NEW), OTHER, False),
        (Unsaved(frozenset({mark(OLD)}), NEW), None, False),
        (Unsaved(frozenset({mark(None)}), NEW), None, True),
        (Unsaved(frozenset(), None, blind=True), OTHER, True),
    ],
)
def test_what_is_unsaved_is_due_over_what_was_replaced_or_unknown(
    unsaved: Unsaved, stored: Tokens | None, due: bool
) -> None:
    assert unsaved.due(stored) is due


def test_what_is_unsaved_stays_blind_when_a_refresh_replaces_it_and_sees_again_with_a_login_that_could_read() -> None:
    ledger = Ledger(unsaved=Unsaved(frozenset(), OLD, blind=True))
    after_a_refresh = ledger.want(NEW, OLD)
    assert after_a_refresh.due(OTHER)
    assert after_a_refresh.wanted == NEW
    after_a_login = ledger.want(NEW, OTHER, blind=False)
    assert [after_a_login.due(stored) for stored in (OTHER, OLD, None)] == [True, True, False]


def test_a_ledger_remembers_a_hundred_spent_pairs_and_none_that_is_in_use_again() -> None:
    ledger = Ledger()
    pairs = [Tokens("wksp_1", f"access-{number}", "refresh") for number in range(150)]
    for pair in pairs:
        ledger.want(None, pair)
    assert ledger.spent == tuple(mark(pair) for pair in pairs[50:])
    ledger.want(pairs[99], None, OLD)
    assert mark(pairs[99]) not in ledger.spent
    assert ledger.spent[-1] == mark(OLD)


def test_a_held_pair_is_fresh_for_a_while_and_due_before_it_expires() -> None:
    held = Held().replaced(OLD, read_at=5.0, now=1000.0, leeway=60.0)
    assert [held.fresh(now, 1.0) for now in (5.0, 5.9, 6.0)] == [True, True, False]
    assert [held.due(now) for now in (1939.0, 1940.0)] == [False, True]
    again = held.replaced(OLD, read_at=9.0, now=1990.0, leeway=60.0)
    assert (again.renew_at, again.read_at) == (1940.0, 9.0), "a pair that stays keeps its time to renew"
    assert Held().replaced(OLD, read_at=0, now=1990.0, leeway=60.0).renew_at == 1999.0, "a tenth of what is left"
    assert Held().replaced(OLD, read_at=0, now=0, leeway=0).renew_at == math.inf
    assert held.postponed(1950.0).renew_at == 1950.0
    assert held.postponed(3000.0).renew_at == 2000.0, "but not past the expiry"
    longer = held.replaced(evolve(OLD, expires_at=5000.0), read_at=9.0, now=1990.0, leeway=60.0)
    assert longer.renew_at == 4940.0, "the same pair may have a later expiry"
    assert longer.replaced(evolve(OLD, expires_at=None), read_at=9.0, now=1990.0, leeway=60.0).renew_at == 4940.0


def test_a_held_pair_knows_what_it_outdates() -> None:
    assert not Held().outdates("anything")
    held = Held().replaced(OLD, read_at=0.0, now=0.0, leeway=0.0)
    assert [held.outdates(token) for token in ("access-old", "access-new")] == [False, True]
    assert held.replaced(None, read_at=1.0, now=0.0, leeway=0.0).outdates("access-old")
    assert not held.switched
    assert Held().replaced(Tokens("wksp_1", jwt(workspace_id="wksp_2")), read_at=0, now=0, leeway=0).switched


def test_a_pause_doubles_and_gives_way_to_what_the_server_asks_for() -> None:
    trouble, pauses = None, []
    for _ in range(7):
        trouble = Trouble.after(NetworkError("down"), trouble, 100.0)
        pauses.append(trouble.until - 100.0)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert Trouble.after(AuthError("slow down", retry_after=90.0), trouble, 100.0).until == 190.0
    assert Trouble.after(AuthError("at once", retry_after=0.0), None, 100.0).until == 101.0
    assert Trouble.after(AuthError("a slip", retry_after=1e9), None, 100.0).until == 3700.0
