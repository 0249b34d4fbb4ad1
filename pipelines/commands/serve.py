"""A model → a server that answers for images, until Ctrl-C or SIGTERM."""

import logging
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from components.errors import UserError
from components.serving.following import Follower
from components.serving.metrics import Metrics
from components.serving.model import Model
from components.serving.server.answering import Answers
from components.serving.server.app import Settings, build_app
from components.serving.server.bodies import Limits
from components.serving.server.running import LOCAL, run_app
from components.serving.shadow import Shadow
from components.tracking import run_folders
from pipelines.commands.console import show_lines, show_waiting
from pipelines.commands.model_option import model_address

log = logging.getLogger(__name__)

TOKEN = "FOVEA_SERVE_TOKEN"


@dataclass(frozen=True)
class Options:
    """The options of `fovea serve`.

    model, shadow: a file, a version in MLflow, or an alias such as `@champion`; for the shadow also
    None. host, port: the address; port 0 is a free one. every_s: the seconds between two looks at
    an alias. limits: what a request may be.
    """

    model: str
    shadow: str | None
    host: str
    port: int
    every_s: float
    limits: Limits


def serve(options: Options) -> None:
    """Answer requests until Ctrl-C or SIGTERM; then finish those that have begun.

    Raises UserError if the address is in use, or if there is no such model.
    """
    with _listen(options.host, options.port) as listening:
        host, port = listening.getsockname()[:2]
        show_waiting("waiting for TensorFlow; the model is loaded and compiled")
        metrics = Metrics()
        follower = Follower(model_address(options.model), "--model")
        shadow = None
        if options.shadow:
            second = Follower(model_address(options.shadow), "--shadow")
            shadow = Shadow(follower, second, metrics)
            shadow.follower.start(options.every_s)
        _count_swaps(follower, metrics)
        follower.start(options.every_s)
        token = os.environ.get(TOKEN, "")
        local = ip_address(host).is_loopback
        if not local and not token:
            log.warning(f"everyone who reaches {host} is answered; set {TOKEN} to ask for a token")
        settings = Settings(options.limits, token, LOCAL if local else ("*",), _card)
        app = build_app(Answers(follower, metrics, shadow), settings)
        shown = f"[{host}]" if ":" in host else host
        show_lines(f"{_called(follower.current.model)} answers at http://{shown}:{port}/")
        run_app(app, listening)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"--host, --port: nothing can listen there ({error.strerror}); choose another address. "
            f"Received: {host}, {port}"
        ) from None


def _count_swaps(follower: Follower, metrics: Metrics) -> None:
    def swapped(model: Model) -> None:
        metrics.see_model(model)
        metrics.swaps.labels("answers").inc()

    metrics.see_model(follower.current.model)
    follower.on_swap.append(swapped)
    follower.on_refusal.append(lambda reason: metrics.swaps.labels("refused").inc())


def _called(model: Model) -> str:
    version = model.version
    return f"{version.name}, version {version.number}," if version else "the model file"


def _card(model: Model) -> str:
    """Return the model card of a version, Markdown; empty if there is none."""
    if model.version is None:
        return ""
    folder = f"{run_folders.MODEL_CARD}/{model.version.name}"
    return model.version.run.read_text(f"{folder}/model_card.md") or ""
