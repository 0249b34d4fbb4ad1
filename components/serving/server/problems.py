"""What is wrong with a request → an answer of the type application/problem+json (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 (as an HTTP status, it is an answer and no program error)
    """Raised to answer a request with an error.

    status: the HTTP status. detail: one sentence that says what was received and what to do.
    headers: headers of the answer. more: further members of its JSON.
    """

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers, self.more = dict(headers or {}), more

    def response(self) -> JSONResponse:
        """Return the answer."""
        tree = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(tree, self.status, self.headers, TYPE)


def busy(what: str) -> Problem:
    """Return the answer to a request for which there is no room now."""
    return Problem(503, f"{what}; send the request again later", {"Retry-After": "1"})
