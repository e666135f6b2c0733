"""One call: get a token, send, renew it on a 401, try again where that is safe, and turn errors into exceptions."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from attrs import define, field

from prisma_mgmt.checks import checked_token
from prisma_mgmt.core.retry import Budget, Clock, RetryPolicy
from prisma_mgmt.core.transport import Stream, Transport
from prisma_mgmt.core.wire import Answer, Body, api_error, retry_after
from prisma_mgmt.credentials import Credentials
from prisma_mgmt.environment import SERVICE_TOKEN
from prisma_mgmt.errors import APIError, LoginRequiredError, NetworkError, PrismaError, RateLimitError
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from prisma_mgmt.core.events import Observer

_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_NOTHING = httpx.ByteStream(b"")
_url = lru_cache(maxsize=512)(httpx.URL)  # reading a URL is what costs most in a call, and pollers ask for the same one


class Head:
    """The headers of requests to one base URL, kept as httpx wants them for the token that was sent last."""

    __slots__ = ("_host", "_ready", "_token", "headers")

    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self.headers = headers
        self._host = {} if "Host" in headers else {"Host": _url(base_url).netloc.decode()}
        self._token: str | None = None
        self._ready: httpx.Headers | None = None

    def ready(self, token: str | None) -> httpx.Headers:
        if self._ready is None or token != self._token:
            bearer = {} if token is None else {"Authorization": Secret(f"Bearer {token}")}
            self._token, self._ready = token, httpx.Headers({**self._host, **self.headers, **bearer})
        return self._ready


@define(eq=False)
class Call:
    """A request before it has a token."""

    method: str
    base_url: str
    path: str
    query: str
    head: Head
    content: Body | None
    timeout: float | None
    retry: RetryPolicy
    credentials: Credentials | None
    observer: "Observer | None" = None
    stream: type[Stream] | None = None
    sent: int = 0  # how often
    token: str | None = field(default=None, repr=False)  # what it was sent with last
    unrenewed: PrismaError | None = None  # what the credentials raised instead of another token
    failure: APIError | NetworkError | None = None  # of the last try, where this is another one
    until: float = math.inf  # when no further try begins, by the monotonic clock

    @property
    def url(self) -> str:
        return self.base_url + self.path + self.query

    def request(self, token: str | None) -> httpx.Request:
        """The request, with a token."""
        url, headers = _url(self.url), self.head.ready(token)
        if self.content is not None or self.method not in _BODILESS:
            request = httpx.Request(self.method, url, headers=headers, content=self.content)
            if self.content is not None:
                request.headers.setdefault("Content-Type", "application/json")
            return request
        request = httpx.Request(self.method, url, headers=headers, stream=_NOTHING)
        request.read()  # as httpx would make it, without looking for a body
        if self.stream is not None:
            self.stream.ask(request)
        return request


@define(eq=False)
class Pipeline:
    """Carries calls over one transport; shared by a client and all its views."""

    transport: Transport
    clock: Clock = field(factory=Clock)
    opens_at: float = 0.0  # a 429 holds back every call until then
    budget: Budget = field(factory=Budget)

    async def send(self, call: Call) -> Answer:
        """The answer to a call, a success. Raises APIError, NetworkError, or what the credentials raise."""
        started = self.clock.monotonic()
        call.until = started + call.retry.deadline
        may_renew = True
        attempt = 0
        while True:
            attempt += 1
            if self.opens_at and call.retry.attempts > 1:
                await self._wait_for_gate(call)
            token = await self._token(call)
            try:
                answer = await self._exchange(call, token)
                if answer.status == 401 and may_renew and call.token is not None:
                    may_renew = False
                    token = await self._renew(call, call.token, answer)
                    if token is not None:
                        answer = await self._exchange(call, token)
                if 200 <= answer.status < 300 or answer.stream is not None:
                    self.budget.give(retried=attempt > 1)
                    return answer
                raise self._error(call, answer)
            except (APIError, NetworkError) as error:
                if error in (call.unrenewed, call.failure) or not await self.pause(call, error, attempt, started):
                    raise
                call.failure = error

    async def pause(self, call: Call, error: APIError | NetworkError, attempt: int, started: float) -> bool:
        """Wait until a call may be tried again; False where `error` is the last word on it."""
        asked = retry_after(error.headers, self.clock.now()) if isinstance(error, APIError) else None
        seconds = call.retry.wait(error, call.method, attempt, asked, self.clock.jitter())
        if seconds is None:
            return False
        now = self.clock.monotonic()
        if isinstance(error, RateLimitError):
            self.opens_at = max(self.opens_at, now + seconds)
        seconds = max(seconds, self.opens_at - now)
        if attempt >= call.retry.attempts or now + seconds - started >= call.retry.deadline:
            return False
        if not (isinstance(error, RateLimitError) or self.budget.take()):  # a rate limit has the gate
            error.add_note("not tried again: too many of this client's latest calls have failed")
            return False
        if call.observer is not None:
            call.observer.retrying(call, seconds, error)
        await self.clock.sleep(seconds)
        return True

    async def _wait_for_gate(self, call: Call) -> None:
        while (seconds := self.opens_at - self.clock.monotonic()) > 0:
            if self.opens_at >= call.until:
                error = RateLimitError(
                    "not sent: an earlier answer asked for a pause that ends after this call's deadline",
                    status=429,
                    method=call.method,
                    url=call.url,
                )
                error.retry_after = seconds
                raise error
            await self.clock.sleep(seconds)

    async def _exchange(self, call: Call, token: str | None) -> Answer:
        """Send once, and tell whoever wants to know."""
        request = call.request(token)
        if await self._waited_in_vain(call, token):
            assert token is not None  # it is outdated
            token = await self._renew(call, token) or token
            request = call.request(token)
            await self.transport.enter()
        call.sent, call.token = call.sent + 1, token
        observer, began = call.observer, self.clock.monotonic()
        if observer is not None:
            with self._place():
                observer.sent(call)
        try:
            answer = await self.transport.send(request, call.timeout, stream=call.stream)
        except BaseException as error:
            if observer is not None:
                observer.failed(call, self.clock.monotonic() - began, error)
            raise
        try:
            if observer is not None:
                observer.answered(call, self.clock.monotonic() - began, answer)
            accepted = getattr(call.credentials, "accepted", None)
            if accepted is not None and token is not None and answer.status != 401:
                accepted(token)
        except BaseException:
            if answer.stream is not None:
                await answer.stream.aclose()
            raise
        return answer

    async def _waited_in_vain(self, call: Call, token: str | None) -> bool:
        """Wait for a place. True, and no place, where the credentials know by then that `token` would be refused."""
        if not await self.transport.enter():
            return False
        with self._place():
            if call.failure is not None and self.clock.monotonic() >= call.until:
                raise call.failure
            outdated = getattr(call.credentials, "outdated", None)
            if token is None or outdated is None or not outdated(token):
                return False
        self.transport.leave()  # so that nobody waits while this call does
        return True

    @contextmanager
    def _place(self) -> Generator[None, None, None]:
        """Give the place back where the caller's code raises."""
        try:
            yield
        except BaseException:
            self.transport.leave()
            raise

    async def _token(self, call: Call) -> str | None:
        """The token to send with; None where the caller gave an Authorization header."""
        if call.credentials is not None:
            return _sound(await call.credentials.access_token())
        if "Authorization" not in call.head.headers:
            raise LoginRequiredError(f"no token: pass auth= to the client, or set {SERVICE_TOKEN}")
        return None

    async def _renew(self, call: Call, token: str, answer: Answer | None = None) -> str | None:
        """Another token, or None. What the credentials raise keeps the API's own 401 as its cause."""
        assert call.credentials is not None  # they gave the token
        began = self.clock.monotonic()
        renewed = None
        try:
            renewed = await call.credentials.renew(token)
        except PrismaError as error:
            call.unrenewed = error  # it has failed all who waited for it, and none of them repeats it
            if answer is None:
                raise
            raise error from self._error(call, answer)
        finally:
            if call.observer is not None:
                call.observer.renewed(call, self.clock.monotonic() - began, renewed is not None)
        return None if renewed is None else _sound(renewed)

    def _error(self, call: Call, answer: Answer) -> APIError:
        return api_error(call.method, call.url, answer, self.clock.now())


def _sound(token: str) -> Secret:
    if isinstance(token, Secret):
        return token
    token = Secret(token.strip())
    return checked_token(token, "the credentials' token")
