"""One call, one concern around the next: retry, a token that is good, a place in the pool, one exchange.

Each method below calls the one after it. What has come of an exchange travels back up as a value, an Answer or the
NetworkError that there was none, so that only what nobody here can mend is raised.
"""

from copy import copy
from functools import partial

from attrs import define, field

from prisma_mgmt.checks import checked_token
from prisma_mgmt.core.answers import api_error
from prisma_mgmt.core.call import Answer, Call, Outcome
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.connection import OutdatedError, Request
from prisma_mgmt.core.pool import Place, Pool
from prisma_mgmt.core.record import record_answer, records
from prisma_mgmt.core.retry import FULL, Budget, Gates, may_have_acted
from prisma_mgmt.errors import APIError, AuthError, NetworkError, PrismaError, RateLimitError

_RENEWALS = 3  # of tokens that are outdated before they are sent


@define(eq=False)
class Pipeline:
    """Carries the calls of a client and of all its views."""

    pool: Pool
    clock: Clock
    budget: Budget = field(factory=Budget)
    gates: Gates = field(factory=Gates)

    async def send(self, call: Call) -> Answer:
        """The answer to a call, a success. Raises APIError, NetworkError, or what the credentials raise."""
        started = self.clock.monotonic()
        call.until = started + call.options.retry.deadline
        attempt = 0
        while True:
            attempt += 1
            if self.gates.closed:
                await self._pass_gate(call)
            outcome = await self._with_a_good_token(call)
            if isinstance(outcome, Answer) and (200 <= outcome.status < 300 or _is_success(call, outcome)):
                if self.budget.left < FULL:
                    self.budget.give()
                if records.get():
                    record_answer(self, outcome)
                return outcome
            error = api_error(outcome, self.clock.now()) if isinstance(outcome, Answer) else outcome
            call.acted = call.acted or may_have_acted(error)
            if not await self.pause(call, error, attempt, started):
                if isinstance(outcome, Answer):
                    record_answer(self, outcome)
                raise error
            call.failure = error

    async def _pass_gate(self, call: Call) -> None:
        """Wait until a 429 no longer holds back calls with these credentials."""
        retry, who = call.options.retry, call.who
        while (seconds := self.gates.open_at(who) - self.clock.monotonic()) > 0 and retry.attempts > 1:
            if self.clock.monotonic() + seconds >= call.until or seconds > retry.max_retry_after:
                told = f"not sent: the API asked for a pause, and its last {seconds:.0f} s are too long for this call"
                error = call.named(RateLimitError(told, status=429))
                error.retry_after = seconds
                raise error
            await self.clock.sleep(seconds)

    async def pause(self, call: Call, error: APIError | NetworkError, attempt: int, started: float) -> bool:
        """Wait until a call may be tried again; False if `error` is the last word on it."""
        retry, who = call.options.retry, call.who
        asked = error.retry_after if isinstance(error, APIError) else None
        seconds = retry.wait(error, call.method, attempt, asked, self.clock.jitter())
        now = self.clock.monotonic()
        if isinstance(error, RateLimitError) and (until := asked if asked is not None else seconds) is not None:
            self.gates.close(who, now + until, now, call.options.auth)
        if attempt > 1 and not isinstance(error, RateLimitError):
            self.budget.take()
        if seconds is None:
            return False
        seconds = max(seconds, self.gates.open_at(who) - now)
        if attempt >= retry.attempts or now + seconds - started >= retry.deadline:
            return False
        if self.budget.left < 1.0 and not isinstance(error, RateLimitError):  # a rate limit has the gate
            error.add_note("not tried again: too many of this client's latest calls have failed")
            return False
        if call.options.observer is not None:
            call.options.observer.retrying(call, seconds, error)
        await self.clock.sleep(seconds)
        return True

    async def _with_a_good_token(self, call: Call) -> Outcome:
        """Send with a token; if that is refused, once more with another one, if there is another."""
        token = None
        if call.wants_token:
            auth = call.options.auth
            if auth.credentials is None:
                kind, told = auth.lacking
                raise call.named(kind(told))
            try:
                token = _sound(await auth.credentials.access_token())
            except AuthError as error:
                call.named(error)  # an object of this caller's own
                raise
        outcome = await self._in_a_place(call, token)
        if not isinstance(outcome, Answer) or outcome.status != 401 or call.token is None or call.renewed:
            return outcome
        call.renewed = True
        try:
            another = await self._renewed(call, call.token)
        except PrismaError as error:
            _give_cause(error, api_error(outcome, self.clock.now()))
            raise
        return outcome if another is None else await self._in_a_place(call, another)

    async def _in_a_place(self, call: Call, token: str | None) -> Outcome:
        """Wait for a place, and send; renew first if the credentials know by then that `token` would be refused.

        Meanwhile the place is given back, so that nobody waits while this call does. They are asked again once a
        connection is made.
        """
        tracked = call.options.auth.tracked
        for _ in range(_RENEWALS):
            request = call.request(token)
            if tracked is not None and token is not None:
                request.outdated = partial(tracked.outdated, token)
            try:
                async with self.pool.place() as place:
                    if call.failure is not None and self.clock.monotonic() >= call.until:
                        raise call.failure
                    request.check()
                    return await self._exchange(call, token, request, place)
            except OutdatedError:
                pass
            another = await self._renewed(call, token)
            if another is None:  # the API's own 401 says more than we could
                tracked = None
            token = another or token
        raise call.named(AuthError("the credentials take back every token that they give, before it is sent"))

    async def _exchange(self, call: Call, token: str | None, request: Request, place: Place) -> Outcome:
        """Send once, and tell whoever wants to know."""
        options = call.options
        tracked = options.auth.tracked
        call.sent, call.token = call.sent + 1, token
        try:
            if options.observer is None:
                outcome = await place.exchange(request, options.timeout, opens=call.opens)
            else:
                send = partial(place.exchange, request, options.timeout, opens=call.opens)
                outcome = await options.observer.watched(call, send, self.clock)
        except PrismaError as error:
            call.named(error)
            raise
        if isinstance(outcome, NetworkError):
            return call.named(outcome)
        outcome.call = call
        if tracked is not None and token is not None and _knew_the_token(outcome.status):
            tracked.accepted(token)
        return outcome

    async def _renewed(self, call: Call, token: str | None) -> str | None:
        """Another token than `token`, or None."""
        credentials, observer = call.options.auth.credentials, call.options.observer
        assert credentials is not None  # they gave the token
        assert token is not None
        began = self.clock.monotonic()
        renewed = None
        try:
            renewed = await credentials.renew(token)
        except AuthError as error:
            call.named(error)
            raise
        finally:
            if observer is not None:
                observer.renewed(call, self.clock.monotonic() - began, renewed is not None)
        return None if renewed is None else _sound(renewed)


def _is_success(call: Call, answer: Answer) -> bool:
    """A switch to another protocol is one too, and a DELETE that finds nothing after a try that may have worked."""
    return answer.open is not None or (answer.status == 404 and call.method == "DELETE" and call.acted)


def _knew_the_token(status: int) -> bool:
    """If whoever answered knew that the token was good: a gateway may give these others before anybody has looked."""
    return status < 500 and status not in (400, 401, 408, 429)


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


def _sound(token: str) -> str:
    """`token`; TypeError if it is no string. `Options.made` looks at what is in it."""
    if isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        return token
    return checked_token(token, "the token of the credentials")
