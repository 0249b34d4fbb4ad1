"""A model that answers → an ASGI application with its predictions, its state and a page."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route

from components.errors import UserError
from components.explanation.explanation import explain_images
from components.images.fault import Fault
from components.pages.page import data_uri
from components.serving import metrics
from components.serving.model import Model
from components.serving.server import pages
from components.serving.server.answering import Answers
from components.serving.server.bodies import (
    Limits,
    Memory,
    read_images,
)
from components.serving.server.guard import Guard
from components.serving.server.interface import (
    ERRORS,
    Explained,
    Predictions,
    answer,
    body,
    model_name,
)
from components.serving.server.problems import Problem, busy

log = logging.getLogger(__name__)

EXPLAINED = 4  # explanations in work at once; each needs the network twice, with gradients


@dataclass(frozen=True)
class Settings:
    """What is not the model.

    limits: what is taken. token: what every request but those for the health must have; empty for
    none. hosts: the names under which the server may be asked; `*` for all. card: a function that
    returns the model card of a model, in Markdown; the empty string if it has none.
    """

    limits: Limits
    token: str
    hosts: Sequence[str]
    card: Callable[[Model], str]


def build_app(answers: Answers, settings: Settings) -> FastAPI:
    """Return the application. When it ends, `answers` is closed.

    A wrong request gets an answer of application/problem+json.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(answers.close)

    app = FastAPI(
        title="Fovea",
        description="The classes of images. Errors are application/problem+json.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_errors(app)
    _add_predictions(app, answers, settings.limits)
    _add_state(app, answers, settings)
    _add_pages(app, answers, settings)
    _add_guards(app, answers, settings)
    return app


def _add_predictions(app: FastAPI, answers: Answers, limits: Limits) -> None:
    memory, explaining = Memory(limits.all_bytes), ThreadPoolExecutor(1, "explanation")
    explained = 0

    async def within(work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(limits.seconds):
                return await work
        except TimeoutError:
            raise busy(f"there was no answer within {limits.seconds:g} s") from None

    @app.post(
        "/predict",
        response_model=Predictions,
        responses=ERRORS,
        openapi_extra=body(limits.images),
    )
    async def predict(
        request: Request, top: int = Query(1, ge=1, description="The number of classes in `top`.")
    ) -> Response:
        """Predict the classes of images: files of a form, or base64 in JSON."""
        with memory.counted() as add:
            begun = perf_counter()
            images = await read_images(request, limits, add)
            answers.metrics.phases.labels("read").observe(perf_counter() - begun)
            model, predictions = await within(answers.predict(images, top))
        tree: dict[str, Any] = {
            "model": model_name(model),
            "images": [answer(prediction) for prediction in predictions],
        }
        if all(prediction.fault for prediction in predictions):
            text = "no image can be read: " + predictions[0].reason
            raise Problem(422, text, **tree)
        return JSONResponse(tree)

    @app.post("/predict/explain", response_model=Explained, responses=ERRORS, openapi_extra=body(1))
    async def explain(
        request: Request,
        label: str | None = Query(None, description="The class to explain; else the predicted."),
    ) -> Response:
        """Show where the model sees what speaks for a class in one image (Grad-CAM)."""
        nonlocal explained
        if explained >= EXPLAINED:
            raise busy("too many explanations are in work")
        explained += 1
        try:
            with memory.counted() as add:
                images = await read_images(request, limits, add)
                if len(images) > 1:
                    text = f"send one image at a time. Received: {len(images)} images"
                    raise Problem(413, text)
                return JSONResponse(await within(explanation(images[0], label)))
        finally:
            explained -= 1

    async def explanation(content: bytes, label: str | None) -> dict[str, Any]:
        with answers.follower.lease() as served:
            model = served.model
            names = model.class_names
            if label is not None and label not in names:
                raise Problem(422, f"the model has no such class. Received: {label}")
            pixels = await answers.decode(model, content)
            if isinstance(pixels, Fault):
                raise Problem(422, pixels.text, fault=pixels.code)

            def work() -> dict[str, Any]:
                images = pixels[np.newaxis]
                shares = model.probabilities(images)
                classes = None if label is None else np.array([names.index(label)])
                [found] = explain_images(
                    served.grad_cam(), images, np.arange(1), shares, classes=classes
                )
                return {
                    "model": model_name(model),
                    "image": answer(model.prediction(shares[0], min(5, len(names)))),
                    "explained": found.explained,
                    "marked": found.marked,
                    "picture": data_uri(found.overlay_png, "png"),
                }

            return await asyncio.get_running_loop().run_in_executor(explaining, work)


def _add_state(app: FastAPI, answers: Answers, settings: Settings) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", responses={503: ERRORS[503]})
    async def readyz() -> dict[str, str]:
        """Say whether images are answered now."""
        batcher = answers.follower.current.batcher
        if not batcher.is_alive() or batcher.taken >= batcher.places:
            raise busy("no image can be answered now")
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def numbers() -> Response:
        """Return metrics in the text format of Prometheus."""
        answers.metrics.taken.set(answers.follower.current.batcher.taken)
        answers.metrics.behind.set(bool(answers.follower.trouble))
        return Response(answers.metrics.text(), media_type=metrics.TYPE)

    @app.get("/model")
    async def about() -> dict[str, Any]:
        """Return the version that answers: its classes, its lineage, its card, and its shadow.

        `trouble` says why the version that the alias names does not answer; null if it does.
        """
        model = answers.follower.current.model
        shadow = answers.shadow.summary() if answers.shadow else None
        return {
            **model_name(model),
            "size": model.classifier.size,
            "classes": list(model.class_names),
            "lineage": dict(model.version.tags) if model.version else {},
            "card": await asyncio.to_thread(settings.card, model),
            "shadow": shadow,
            "trouble": answers.follower.trouble or None,
        }


def _add_pages(app: FastAPI, answers: Answers, settings: Settings) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def drop(request: Request) -> Response:
        model = answers.follower.current.model
        address = str(request.base_url).rstrip("/")
        page = pages.drop_page(
            model_name(model), len(model.class_names), address, bool(settings.token)
        )
        return HTMLResponse(page)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(pages.docs_page(app.openapi()))


def _add_errors(app: FastAPI) -> None:
    def problem(status: int, detail: str) -> Response:
        return Problem(status, detail).response()

    @app.exception_handler(Problem)
    async def expected(request: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        return problem(422, f"{where}: {first['msg']}. Received: {first.get('input')}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        text = f"{request.method} {request.url.path}: {error.detail}; see /docs"
        return Problem(error.status_code, text, error.headers).response()

    @app.exception_handler(UserError)
    async def wrong(request: Request, error: UserError) -> Response:
        return problem(500, str(error))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return problem(500, "an error of the server; its log says more")


def _add_guards(app: FastAPI, answers: Answers, settings: Settings) -> None:
    paths = {route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(
        Guard,
        metrics=answers.metrics,
        token=settings.token,
        hosts=settings.hosts,
        paths=paths,
    )
