"""Carries a call through its concerns, one around the next: retry, a good token, a place in the pool, one exchange.

Each method below calls the one after it. What has come of an exchange travels back up as a value, an Answer or the
NetworkError that there was none, so that only what nobody here can mend is raised.
"""

from collections.abc import Hashable
from copy import copy
from functools import partial
from inspect import isawaitable

from attrs import define, field

from prisma_mgmt.checks import checked_token
from prisma_mgmt.core.answers import api_error
from prisma_mgmt.core.call import Answer, Call, Outcome
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.connection import OutdatedError
from prisma_mgmt.core.exchange import exchange
from prisma_mgmt.core.pool import Place, Pool
from prisma_mgmt.core.record import record_answer, records
from prisma_mgmt.core.retry import FULL, Budget, may_have_acted
from prisma_mgmt.credentials import knew_the_token
from prisma_mgmt.errors import APIError, AuthError, NetworkError, PrismaError, RateLimitError

_RENEWALS = 10  # of tokens that are outdated before they are sent, one right after the other; a route may cost several
_SECRET = 8  # characters of a token that is masked; a shorter one, such as the "token" of a test, is a word like others
_LIVED = 1.0  # seconds: a token that is outdated later than that was good, and its call has waited for its place


@define(eq=False)
class Pipeline:
    """Carries the calls of a client and of all its views."""

    pool: Pool
    clock: Clock
    budget: Budget = field(factory=Budget)
    gates: dict[Hashable, float] = field(factory=dict)  # until when a 429 holds back calls, by whose they are
    _swept: float = float("-inf")  # when those that have opened were last forgotten

    async def send(self, call: Call) -> Answer:
        """The answer to a call, a success. Raises APIError, NetworkError, or what the credentials raise."""
        call.until = self.clock.monotonic() + call.options.retry.deadline
        attempt = 0
        while True:
            attempt += 1
            if self.gates:
                await self._pass_gate(call)
            try:
                outcome = await self._with_a_good_token(call)
            except AuthError as lacking:
                call.named(lacking)  # an object of this caller's own
                raise
            if isinstance(outcome, Answer) and (200 <= outcome.status < 300 or _is_success(call, outcome)):
                if self.budget.left < FULL:
                    self.budget.give()
                if records.get():
                    record_answer(self, outcome)
                return outcome
            error = api_error(outcome, self.clock.now()) if isinstance(outcome, Answer) else outcome
            call.acted = call.acted or may_have_acted(error)
            if not await self.pause(call, error, attempt):
                if isinstance(outcome, Answer):
                    record_answer(self, outcome)
                raise error
            call.failure = error

    async def _pass_gate(self, call: Call) -> None:
        """Wait until a 429 no longer holds back calls with these credentials."""
        retry, who = call.options.retry, call.who
        while (seconds := self.gates.get(who, 0.0) - self.clock.monotonic()) > 0 and retry.attempts > 1:
            if self.clock.monotonic() + seconds >= call.until or seconds > retry.max_retry_after:
                told = f"not sent: the API asked for a pause, and its last {seconds:.0f} s are too long for this call"
                error = call.named(RateLimitError(told, status=429))
                error.retry_after = seconds
                raise error
            await self.clock.sleep(seconds)

    def _close_gate(self, who: Hashable, until: float, now: float) -> None:
        """Hold back the calls of `who`. The gates that have opened are forgotten, once a second at most."""
        if now > self._swept + 1.0:
            self._swept, self.gates = now, {one: at for one, at in self.gates.items() if at > now}
        self.gates[who] = max(until, self.gates.get(who, 0.0))

    async def pause(self, call: Call, error: APIError | NetworkError, attempt: int) -> bool:
        """Wait until a call may be tried again; False if `error` is the last word on it."""
        retry, who = call.options.retry, call.who
        asked = error.retry_after if isinstance(error, APIError) else None
        seconds = retry.wait(error, call.method, attempt, asked, self.clock.jitter())
        now, limited = self.clock.monotonic(), isinstance(error, RateLimitError)
        if limited and (until := asked if asked is not None else seconds) is not None:
            self._close_gate(who, now + until, now)
        if attempt > 1 and not limited:
            self.budget.take()
        if seconds is None:
            return False
        seconds = max(seconds, self.gates.get(who, 0.0) - now)
        if attempt >= retry.attempts or now + seconds >= call.until:
            return False
        if self.budget.left < 1.0 and not limited:  # a rate limit has the gate
            error.add_note("not tried again: too many of this client's latest calls have failed")
            return False
        if call.options.observer is not None:
            call.options.observer.retrying(call.about, seconds, error)
        await self.clock.sleep(seconds)
        return True

    async def _with_a_good_token(self, call: Call) -> Outcome:
        """Send with a token. If it is refused, or known to be outdated, send with another one, if there is another."""
        token, tracked = None, call.options.auth.tracked
        if call.wants_token:
            given = call.options.auth.credentials.access_token()
            if not isawaitable(given):
                raise TypeError(f"access_token() of the credentials must be async; it gave a {type(given).__name__}")
            token = await given
            if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
                checked_token(token, "the token of the credentials")
        asks, taken_back = True, 0
        while taken_back < _RENEWALS:
            refusal: Answer | None = None
            began = self.clock.monotonic()
            try:
                outcome = await self._in_a_place(call, token, asks)
            except OutdatedError:
                taken_back = taken_back + 1 if self.clock.monotonic() < began + _LIVED else 1
            else:
                if not isinstance(outcome, Answer) or outcome.status != 401 or token is None or call.renewed:
                    return outcome
                refusal, call.renewed = outcome, True
            try:
                another = await self._renewed(call, token)
            except PrismaError as error:
                if refusal is not None:
                    _give_cause(error, api_error(refusal, self.clock.now()))
                raise
            if another is not None:
                token, asks = another, True
            elif refusal is not None:
                return refusal
            else:  # if it is outdated even now, the API's own 401 says more than we could
                asks, taken_back = tracked is None or token is None or not tracked.outdated(token), 0
        raise AuthError("the credentials take back every token that they give, before it is sent")

    async def _in_a_place(self, call: Call, token: str | None, asks: bool) -> Outcome:
        """Wait for a place, and send. Raises OutdatedError if the credentials say by then that `token` is outdated.

        Nothing is sent then, and the place is given back, so that nobody waits while this call renews. The credentials
        are asked when the place is there, and again when a connection is made, but only if `asks` is true.
        """
        options, tracked = call.options, call.options.auth.tracked
        headers = call.headers if call.upgrade is None else {**(call.headers or {}), **call.upgrade()}
        request = options.request(call.method, call.path + call.query, token, headers, call.body)
        if tracked is not None and token is not None and asks:
            request.outdated = partial(tracked.outdated, token)
        async with Place(self.pool, request) as place:
            if call.failure is not None and self.clock.monotonic() >= call.until:
                raise call.failure
            request.check()
            call.sent += 1
            try:
                if options.observer is None:
                    outcome = await exchange(place, options.timeout, call.opens)
                else:
                    send = partial(exchange, place, options.timeout, call.opens)
                    outcome = await options.observer.watched(call.about, send, self.clock)
            except OutdatedError:
                call.sent -= 1  # it was only about to be
                raise
            except PrismaError as error:
                call.named(error)
                raise
            if isinstance(outcome, NetworkError):
                return call.named(outcome)
            outcome.call, outcome.bare = call, call.bare
            # A gateway may quote the token, and the error quotes the answer.
            if token is not None and outcome.status >= 400 and len(token) >= _SECRET:
                outcome.content = outcome.content.replace(token.encode(), b"***")
            if tracked is not None and token is not None and knew_the_token(outcome.status):
                tracked.accepted(token)
            return outcome

    async def _renewed(self, call: Call, token: str | None) -> str | None:
        """Another token than `token`, or None."""
        assert token is not None  # it was refused
        observer, began, renewed = call.options.observer, self.clock.monotonic(), None
        try:
            renewed = await call.options.auth.credentials.renew(token)
        finally:
            if observer is not None:
                observer.renewed(call.about, self.clock.monotonic() - began, renewed is not None)
        return renewed


def _is_success(call: Call, answer: Answer) -> bool:
    """A switch to another protocol is one too, and a DELETE that finds nothing after a try that may have worked."""
    return answer.open is not None or (answer.status == 404 and call.method == "DELETE" and call.acted)


def _give_cause(error: BaseException, refusal: APIError) -> None:
    """Make the API's own 401 the last cause of an error. Its causes are copied: other calls' errors may share them."""
    while (cause := error.__cause__) is not None:
        try:
            mine = copy(cause)
        except Exception:  # what cannot be copied, whatever its class makes of that, stays as it is
            return
        mine.__traceback__, mine.__context__, mine.__cause__ = cause.__traceback__, cause.__context__, cause.__cause__
        error.__cause__ = mine
        error = mine
    if not isinstance(error, APIError):  # another call's, whose credentials raise one error for several
        error.__cause__ = refusal
