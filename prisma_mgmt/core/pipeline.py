"""One call: get a token, send, renew it on a 401, try again where that is safe, and turn errors into exceptions."""

from collections.abc import Mapping

import httpx
from attrs import define, field, frozen

from prisma_mgmt.core.retry import Clock, RetryPolicy
from prisma_mgmt.core.transport import Transport
from prisma_mgmt.core.wire import Answer, Body, api_error, retry_after
from prisma_mgmt.credentials import SERVICE_TOKEN_VARIABLE, Credentials, Secret, checked_token
from prisma_mgmt.errors import APIError, LoginRequiredError, NetworkError, PrismaError, RateLimitError


@frozen
class Call:
    """A request before it has a token."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: Body | None
    timeout: float | None
    retry: RetryPolicy
    credentials: Credentials | None
    stream: bool = False


@define(eq=False)
class Pipeline:
    """Carries calls over one transport; shared by a client and all its views."""

    transport: Transport
    clock: Clock = field(factory=Clock)
    opens_at: float = 0.0  # a 429 holds back every call until then

    async def send(self, call: Call) -> Answer:
        """The answer to a call, a success. Raises APIError, NetworkError, or what the credentials raise."""
        started = self.clock.monotonic()
        may_renew = True
        attempt = 0
        while True:
            attempt += 1
            if self.opens_at and call.retry.attempts > 1:
                await self._wait_for_gate(call, started)
            token = await self._token(call)
            try:
                answer = await self._exchange(call, token)
                if answer.status == 401 and may_renew and token is not None:
                    may_renew = False
                    token = await self._renew(call, token, answer)
                    if token is not None:
                        answer = await self._exchange(call, token)
                if 200 <= answer.status < 300:
                    return answer
                raise self._error(call, answer)
            except (APIError, NetworkError) as error:
                if not await self.pause(call, error, attempt, started):
                    raise

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
        await self.clock.sleep(seconds)
        return True

    async def _wait_for_gate(self, call: Call, started: float) -> None:
        while (seconds := self.opens_at - self.clock.monotonic()) > 0:
            if self.opens_at - started >= call.retry.deadline:
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
        """Send once, and tell the credentials of a token that was taken."""
        headers = list(call.headers.items())
        if token is not None:
            headers.append(("Authorization", Secret(f"Bearer {token}")))
        request = httpx.Request(call.method, call.url, headers=headers, content=call.content)
        answer = await self.transport.send(request, call.timeout, stream=call.stream)
        if token is not None and answer.status != 401:
            accepted = getattr(call.credentials, "accepted", None)
            if accepted is not None:
                accepted(token)
        return answer

    async def _token(self, call: Call) -> str | None:
        """The token to send with; None where the caller gave an Authorization header."""
        if call.credentials is not None:
            return _sound(await call.credentials.access_token())
        if "Authorization" not in call.headers:
            raise LoginRequiredError(f"no token: pass auth= to the client, or set {SERVICE_TOKEN_VARIABLE}")
        return None

    async def _renew(self, call: Call, token: str, answer: Answer) -> str | None:
        """Another token, or None. What the credentials raise keeps the API's own 401 as its cause."""
        assert call.credentials is not None  # it gave the token
        try:
            renewed = await call.credentials.renew(token)
        except PrismaError as error:
            raise error from self._error(call, answer)
        return None if renewed is None else _sound(renewed)

    def _error(self, call: Call, answer: Answer) -> APIError:
        return api_error(call.method, call.url, answer, self.clock.now())


def _sound(token: str) -> Secret:
    if isinstance(token, Secret):
        return token
    token = Secret(token.strip())
    return checked_token(token, "the credentials' token")
