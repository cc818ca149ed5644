"""Posts JSON to one server: redirects, user and password, TLS, and a limit on the time it takes (guide 10.2).

Twisted's HTTP client on the TLS of `haproxy.tls`: it needs no thread for each target, says in the same words
as SIP why a handshake failed, and does not turn a redirected POST into a GET without body, as httpx does.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from haproxy.notification.authorization import Authorization
from haproxy.notification.connection import CONNECT_TIMEOUT, Ask, ServerEndpoint
from haproxy.notification.outbox import Outcome
from haproxy.notification.security import HttpsClient, Security
from haproxy.notification.target import Target, Url
from haproxy.tls.context import reason_of
from haproxy.tls.error import TlsError

TIMEOUT: Final = 10.0
"""Seconds for a notification, from the first packet to the last redirect's answer."""

REDIRECTS: Final = 5

LONGEST_REASON: Final = 200
"""Characters of an error text that quotes a server."""

MOVED: Final = frozenset({301, 302, 303, 307, 308})

log = Logger()


class Failed(Exception):
    """An attempt came to nothing; the text says why."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Client:
    """Talks to one target."""

    def __init__(
        self,
        reactor: Any,
        target: Target,
        ask: Ask,
        entropy: Callable[[int], bytes],
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        """`reactor` provides IReactorTCP, IReactorTime and IReactorThreads; `ask` asks name servers."""
        self._reactor = reactor
        self._target = target
        self._ask = ask
        self._timeout = timeout
        self._authorization = Authorization(target.user, target.password, entropy)
        self._security = Security(target)

    async def post(self, body: bytes) -> Outcome:
        """Deliver one notification; never raises."""
        try:
            attempt = Deferred.fromCoroutine(self._post(body))
            return await attempt.addTimeout(self._timeout, self._reactor, _late)
        except Failed as error:
            return Outcome(error.code, str(error))
        except TlsError as error:
            return Outcome(error=str(error))
        except Exception:  # noqa: BLE001 - the next ones wait for this one to end, however it does
            log.failure("a defect met while notifying {target}", target=self._target.name)
            return Outcome(error="internal error; the log has the details")

    async def _post(self, body: bytes) -> Outcome:
        url, method = self._target.url, "POST"
        for _ in range(REDIRECTS + 1):
            response = await self._authorized(url, method, body)
            if response.code not in MOVED:
                return _judge(response)
            url = self._follow(url, response)
            # 303 says that the POST was taken and its result is there (RFC 9110 15.4.4); all others want it
            # again, there: what browsers make of 301 and 302 would lose the event.
            if response.code == HTTPStatus.SEE_OTHER:
                method, body = "GET", b""
        return Outcome(response.code, f"more than {REDIRECTS} redirects")

    def _follow(self, url: Url, response: IResponse) -> Url:
        try:
            to = url.follow(_header(response, b"location"))
        except ValueError as error:
            raise Failed(f"{response.code} redirects to nowhere: {error}", response.code) from None
        server = f"{to.scheme}://{to.authority}"
        if not self._target.redirect:
            raise Failed(f"{response.code} redirects to {server}, and notifyRedirect is off", response.code)
        if (url.scheme, to.scheme) == ("https", "http"):
            raise Failed(f"{response.code} redirects to {server}, without TLS", response.code)
        return to

    async def _authorized(self, url: Url, method: str, body: bytes) -> IResponse:
        """The answer to a request, after a challenge if there was one. Only the target gets a password."""
        if url.origin != self._target.url.origin:
            return await self._request(url, method, body, None)
        given = self._authorization.header(method, url.path, body)
        response = await self._request(url, method, body, given)
        challenges = response.headers.getRawHeaders(b"www-authenticate") or []
        if response.code == HTTPStatus.UNAUTHORIZED and self._authorization.learn(challenges):
            given = self._authorization.header(method, url.path, body)
            response = await self._request(url, method, body, given)
        return response

    async def _request(self, url: Url, method: str, body: bytes, authorization: bytes | None) -> IResponse:
        """The answer to a request, of which nobody reads the content. Raises Failed and TlsError."""
        user_agent = self._target.user_agent.encode("ascii", "replace")
        headers = Headers({b"Host": [url.authority.encode()], b"User-Agent": [user_agent]})
        if body:
            headers.addRawHeader(b"Content-Type", b"application/json")
        if authorization is not None:
            headers.addRawHeader(b"Authorization", authorization)
        tls = None
        if url.scheme == "https":
            pool = self._reactor.getThreadPool()
            context: SSL.Context = await deferToThreadPool(self._reactor, pool, self._security.context)
            tls = HttpsClient(context, url.host, self._target)
        endpoint = ServerEndpoint(self._reactor, self._ask, url.host, url.port, tls)
        agent = Agent.usingEndpointFactory(
            self._reactor, _Always(endpoint), HTTPConnectionPool(self._reactor, persistent=False)
        )
        producer = _Content(body) if body else None
        try:
            response: IResponse = await agent.request(method.encode(), str(url).encode(), headers, producer)
        except Exception:  # noqa: BLE001 - it is the caller who gets it, sorted out
            endpoint.abort()
            failure = Failure()
            text = _why(failure, tls)
            if text is None:
                _cause(failure).raiseException()
            raise Failed(text) from None
        response.deliverBody(_Ignore())
        endpoint.finish()
        return response


def _late(result: object, timeout: float) -> Outcome:
    """The time is over; `result` is an answer that came at the last moment, or what cancelling led to."""
    return result if isinstance(result, Outcome) else Outcome(error=f"no answer within {timeout:g} s")


def _judge(response: IResponse) -> Outcome:
    if 200 <= response.code < 300:
        return Outcome(response.code)
    phrase: str = response.phrase.decode("ascii", "replace")[:100].strip()
    wait = _header(response, b"retry-after")
    after = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else 0.0
    return Outcome(response.code, f"{response.code} {phrase}".strip(), after)


def _header(response: IResponse, name: bytes) -> str:
    values = response.headers.getRawHeaders(name) or [b""]
    text: str = values[0].decode("ascii", "replace")
    return text.strip()


def _why(failure: Failure, tls: HttpsClient | None) -> str | None:
    """Why there was no answer, in words; None where the server has nothing to do with it."""
    error = _cause(failure).value
    if isinstance(error, SSL.Error) and tls is not None:
        return f"TLS handshake failed: {reason_of(error, tls.connection)}"
    if isinstance(error, ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT} s"
    if isinstance(error, ConnectError):
        return f"cannot connect: {error.args[0] or error.MESSAGE.lower()}"
    if isinstance(error, ConnectionClosed):
        return "the connection was closed without an answer"
    if failure.type is ResponseFailed:
        # Something came, and Twisted's parser stopped at it: with errors of many kinds, KeyError among them.
        return f"the answer is not HTTP: {type(error).__name__}: {error}"[:LONGEST_REASON]
    return None


def _cause(failure: Failure) -> Failure:
    """What Twisted's HTTP client has wrapped."""
    reasons: list[Failure] = getattr(failure.value, "reasons", None) or [failure]
    return reasons[0]


class _Ignore(Protocol):
    """The content of an answer."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.loseConnection()


@implementer(IBodyProducer)
class _Content:
    """The content of a request, which is short."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All has been written."""

    def resumeProducing(self) -> None:
        """All has been written."""

    def stopProducing(self) -> None:
        """All has been written."""


@implementer(IAgentEndpointFactory)
class _Always:
    """One endpoint."""

    def __init__(self, endpoint: ServerEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> ServerEndpoint:
        return self._endpoint
