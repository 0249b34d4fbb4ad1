"""Requests → counted, refused under another host's name or without the token, else given on."""

import asyncio
import hmac
from base64 import b64decode
from collections.abc import Collection
from time import perf_counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.metrics import Metrics
from components.serving.server.problems import Problem

OPEN = ("/healthz", "/readyz")  # paths that need no token
LINGER_S = 2.0  # how long the rest of a body is read after its answer


class Guard:
    """An ASGI application around another one.

    token: what every request but those to OPEN must have; empty for none. hosts: the names under
    which the server may be asked; `*` for all. paths: the paths that are counted by their names;
    all others are `other`.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        token: str,
        hosts: Collection[str],
        paths: Collection[str],
    ) -> None:
        self._app, self._metrics, self._token = app, metrics, token
        self._hosts, self._paths = frozenset(hosts), frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status, more = perf_counter(), 500, True

        async def take() -> Message:
            nonlocal more
            message = await receive()
            more = bool(message.get("more_body", False))
            return message

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif more and not message.get("more_body", False):
                # If the connection was closed now, a sender who is not done would not see the
                # answer. So the rest of the body is read for a while.
                await send({**message, "more_body": True})
                await _read_rest(take)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._answer_of(scope)(scope, take, note)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.phases.labels("whole").observe(perf_counter() - begun)

    def _answer_of(self, scope: Scope) -> ASGIApp:
        request = Request(scope)
        if not self._hosts & {"*", host_name(request)}:
            # Otherwise any page in a browser could ask a server on 127.0.0.1 under its own name.
            names = ", ".join(sorted(self._hosts))
            text = f"the server is asked as one of {names} only, or starts with --host 0.0.0.0"
            return Problem(421, f"{text}. Received: Host: {host_name(request)}").response()
        if scope["path"] in OPEN or has_token(request, self._token):
            return self._app
        text = "send the token of FOVEA_SERVE_TOKEN as Authorization: Bearer TOKEN"
        wanted = {"WWW-Authenticate": 'Basic realm="fovea", charset="UTF-8"'}
        return Problem(401, text, wanted).response()


async def _read_rest(take: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            while (await take()).get("more_body", False):
                pass
    except TimeoutError:
        pass


def host_name(request: Request) -> str:
    """Return the name in the header `Host`, without the port and in lower case.

    An address of IPv6 is in brackets, such as `[::1]`.
    """
    text = request.headers.get("host", "").lower()
    name, bracket, _ = text.partition("]")
    return name + bracket if bracket else text.partition(":")[0]


def has_token(request: Request, token: str) -> bool:
    """Return whether a request has the token: as `Bearer`, or as the password of `Basic`.

    A browser asks for a password, so its user gives the token there, with any name.
    """
    if not token:
        return True
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    given = value.encode("latin-1", "replace")
    if kind.lower() == "basic":
        try:
            given = b64decode(given, validate=True).partition(b":")[2]
        except ValueError:
            return False
    elif kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.encode())
