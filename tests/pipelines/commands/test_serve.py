"""`fovea serve` as a process: it answers, follows the champion under load, and ends well."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from components.errors import UserError
from components.images.png_writer import encode_png
from components.model.backend import load_keras, seeded
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from components.registry.versions import register_version
from components.serving.server.bodies import Limits
from components.tracking.connection import client
from components.tracking.runs import start_run
from pipelines.commands.serve import Options, serve
from tests.components.origins import ORIGIN

NAMES, SIZE = ("cat", "dog", "cow"), 16
CLIENTS = 4
FOVEA = (sys.executable, "-c", "from pipelines.commands.fovea import main; main()")
Ask = Callable[[], httpx.Response]


@pytest.fixture
def image() -> bytes:
    return encode_png(np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), np.uint8))


@pytest.fixture
def two_versions(folder_with_store: Path, params: Params, tiny_backbone: None) -> None:
    """Version 1 is the champion, and version 2 has other weights."""
    load_keras()
    for number in (1, 2):
        with seeded(number):
            classifier = build_classifier(params.model, NAMES, SIZE, "squash")
        classifier = replace(classifier, decode=params.ingest.decode.pixel_rules())
        write_classifier(Path("model.keras"), classifier)
        with start_run("train", ORIGIN, {"stage": "train"}) as run:
            pass
        example = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        register_version("digits", Path("model.keras"), run, example, 3, {"verdict": "promote"})
    promote(1)


def promote(number: int) -> None:
    client().set_registered_model_alias("digits", "champion", str(number))


@pytest.fixture
def server(two_versions: None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a server of the champion, whose shadow is version 2."""
    options = ["--model", "models:/digits@champion", "--shadow", "models:/digits/2"]
    command = [*FOVEA, "serve", *options, "--port", "0", "--check-every", "0.2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "FOVEA_SERVE_TOKEN": "secret"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"digits, version 1, answers at (http://127.0.0.1:\d+)/", line):
                break
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow  # TensorFlow starts in a process of its own
def test_no_request_is_lost_when_the_champion_is_swapped_and_at_the_end(server, image) -> None:
    address, process = server
    statuses, versions, stop = [], [], threading.Event()

    def send() -> None:
        with httpx.Client(base_url=address, headers={"Authorization": "Bearer secret"}) as asked:
            while not stop.is_set():
                answer = asked.post("/predict", files=[("image", image)], timeout=60)
                statuses.append(answer.status_code)
                versions.append(answer.json()["model"]["version"])

    clients = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    wait_for(lambda: versions)
    promote(2)
    wait_for(lambda: 2 in versions)
    stop.set()
    for each in clients:
        each.join()
    assert set(statuses) == {200}
    assert set(versions) == {1, 2}
    assert versions.index(2) > 0

    with httpx.Client(base_url=address, headers={"Authorization": "Bearer secret"}) as asked:
        assert httpx.get(f"{address}/model").status_code == 401
        model = asked.get("/model").json()
        assert (model["name"], model["version"]) == ("digits", 2)
        assert model["lineage"]["verdict"] == "promote"
        # Since the swap, the shadow is the model that answers.
        shadow = model["shadow"]
        assert (shadow["version"], shadow["same"]) == (2, shadow["asked"])
        assert 'fovea_model_info{name="digits",' in asked.get("/metrics").text

        begun = threading.Event()
        last = []

        def many() -> None:
            begun.set()
            images = [base64.b64encode(image).decode()] * 200
            last.append(asked.post("/predict", json={"images": images}, timeout=60).status_code)

        thread = threading.Thread(target=many)
        thread.start()
        begun.wait()
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        thread.join()
        assert last == [200]
    assert process.wait(30) in (0, -signal.SIGTERM)


def wait_for(done: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


def options(**more: object) -> Options:
    common = {"model": "model.keras", "shadow": None, "host": "127.0.0.1", "port": 0}
    return Options(**{**common, "every_s": 1.0, "limits": Limits(), **more})  # type: ignore[arg-type]


def test_an_address_in_use_is_said_before_anything_is_loaded(folder_with_store: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(UserError, match=rf"nothing can listen.*Received: 127.0.0.1, {port}"):
            serve(options(port=port))
    with pytest.raises(UserError, match=r"--host.*Received: example\.invalid"):
        serve(options(host="example.invalid"))


@pytest.mark.parametrize(
    ("model", "text"),
    [("nothing.keras", "nothing.keras"), ("models:/nobody@champion", "no version yet")],
)
def test_a_model_that_is_not_there_is_said(folder_with_store: Path, model: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        serve(options(model=model))
