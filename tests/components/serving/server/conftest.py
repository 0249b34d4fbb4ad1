"""A server of a model file, asked without a network."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from components.images.png_writer import encode_png
from components.serving.following import Follower
from components.serving.metrics import Metrics
from components.serving.server.answering import Answers
from components.serving.server.app import Settings, build_app
from components.serving.server.bodies import Limits
from tests.components.serving.conftest import SIZE

HOST = "127.0.0.1"


class Client:
    """Asks an application that runs in an event loop of another thread."""

    def __init__(self, answers: Answers, app: Any, portal: BlockingPortal) -> None:
        self.answers = answers
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}")
        self._portal = portal

    def begin(self, method: str, path: str, **more: Any) -> "Future[httpx.Response]":
        """Send a request, and return at once."""
        work = partial(self._client.request, method, path, **more)
        return self._portal.start_task_soon(work)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._portal.call(partial(self._client.request, method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.send("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.send("POST", path, **more)


Start = Callable[..., Client]


@pytest.fixture
def images() -> list[bytes]:
    pixels = np.random.default_rng(5).integers(0, 256, (5, SIZE, 40, 3), dtype=np.uint8)
    return [encode_png(image) for image in pixels]


@pytest.fixture
def start(model_file: Path) -> Iterator[Start]:
    """Start a server; `limits` and `token` are as in Settings."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def started(limits: Limits | None = None, token: str = "") -> Client:
            answers = Answers(Follower(str(model_file), "--model"), Metrics())
            stack.callback(answers.close)
            settings = Settings(limits or Limits(), token, (HOST,), lambda model: "# A card")
            return Client(answers, build_app(answers, settings), portal)

        yield started


@pytest.fixture
def client(start: Start) -> Client:
    return start()
