"""Requests → counted, refused without the token, and otherwise given on."""

import hmac
from base64 import b64decode
from collections.abc import Collection
from time import perf_counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.serving.metrics import Metrics
from components.serving.server.problems import Problem

OPEN = ("/healthz", "/readyz")  # paths that need no token


class Guard:
    """An ASGI application around another one.

    token: what every request but those to OPEN must have; empty for none. paths: the paths that are
    counted by their names; all others are `other`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, token: str, paths: Collection[str]) -> None:
        self._app, self._metrics, self._token, self._paths = app, metrics, token, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"] in OPEN or has_token(Request(scope), self._token):
                await self._app(scope, receive, note)
            else:
                await _without_token()(scope, receive, note)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.phases.labels("whole").observe(perf_counter() - begun)


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


def _without_token() -> ASGIApp:
    text = "send the token of FOVEA_SERVE_TOKEN as Authorization: Bearer TOKEN"
    wanted = {"WWW-Authenticate": 'Basic realm="fovea", charset="UTF-8"'}
    return Problem(401, text, wanted).response()
