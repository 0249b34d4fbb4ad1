"""Whatever is sent: a server answers by its description, and answers the next request right."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from components.serving import Model
from tests.components.images.bombs import bombs
from tests.components.images.corpus import cases
from tests.components.serving.server.conftest import Client, Start

REQUESTS = 3_000
PATHS = ("/predict", "/predict/explain", "/model", "/healthz", "/readyz", "/metrics", "/", "/docs")
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOVEA")
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'


def check(answer: Any, method: str, declared: set[int]) -> None:
    """Check the status of an answer, and that an error is a problem with a sentence."""
    assert answer.status_code in declared, (answer.status_code, answer.text)
    if answer.status_code >= 400 and method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        tree = answer.json()
        assert tree["status"] == answer.status_code
        assert 10 < len(tree["detail"]) < 100_000


@pytest.fixture
def client(start: Start, images: list[bytes], model: Model) -> Iterator[Client]:
    started = start()
    yield started
    wanted = [prediction.label for prediction in model.predict(images)]
    answer = started.post("/predict", files=[("image", image) for image in images])
    assert [image["label"] for image in answer.json()["images"]] == wanted
    assert started.answers.follower.current.batcher.taken == 0
    assert started.get("/readyz").status_code == 200


@pytest.mark.slow  # images with many megapixels
def test_every_fault_of_the_decoder_is_answered_by_its_code(client: Client) -> None:
    for case in (*cases(), *bombs()):
        encoded = base64.b64encode(case.data).decode()
        for path, body in (
            ("/predict", {"files": [("image", case.data)]}),
            ("/predict", {"json": {"images": [encoded]}}),
            ("/predict/explain", {"files": [("image", case.data)]}),
        ):
            answer = client.post(path, **body)
            check(answer, "POST", {200, 422})
            tree = answer.json()
            [image] = tree["images"] if "images" in tree else [tree.get("image", tree)]
            assert image.get("fault") == case.code, (case.name, path)


def random_json(source: random.Random, depth: int = 0) -> Any:
    """Return a tree as JSON has it; often nearly what the server takes."""
    kind = source.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [random_json(source, depth + 1) for _ in range(source.randrange(4))]
    if kind == 7:
        keys = [source.choice(["images", "image", "top", "\ud800", ""]) for _ in range(3)]
        return {key: random_json(source, depth + 1) for key in keys[: source.randrange(4)]}
    texts = ["", "aGk=", "%", "é", base64.b64encode(source.randbytes(50)).decode()]
    return [None, True, -1, 1e308, source.choice(texts), source.choice(texts)][kind]


def random_body(source: random.Random) -> tuple[bytes, str]:
    """Return the bytes of a body, and its type, which need not fit."""
    kinds = ("application/json", "multipart/form-data; boundary=b", "multipart/form-data", "", "é")
    tree = random_json(source)
    parts = [PART + source.randbytes(source.randrange(60)) + b"\r\n" for _ in range(3)]
    bodies = (
        json.dumps(tree if source.random() < 0.5 else {"images": tree}).encode(),
        b"".join([*parts[: source.randrange(4)], b"--b--\r\n"]),
        b"".join(parts)[: source.randrange(200)],
        source.randbytes(source.randrange(300)),
        PART.replace(b"image", b"imag\xff") + b"x\r\n--b--\r\n",
    )
    fitting = source.randrange(len(bodies))
    kind = kinds[min(fitting, 1)] if source.random() < 0.7 else source.choice(kinds)
    return bodies[fitting], kind


def test_thousands_of_random_requests_are_answered_as_described(client: Client) -> None:
    source = random.Random(14)
    schema = client.get("/openapi.json").json()
    for number in range(REQUESTS):
        path = source.choice(PATHS[:2]) if number % 4 else source.choice([*PATHS, "/%00", "/ä//"])
        method = "POST" if number % 4 else source.choice(METHODS)
        content, kind = random_body(source)
        query = source.choice(["", "?top=1", "?top=0", "?top=", "?label=%ff", "?label=cat&x=1"])
        answer = client.send(
            method, path + query, content=content, headers={b"content-type": kind.encode()}
        )
        described = schema["paths"].get(path, {}).get(method.lower())
        statuses = {int(status) for status in described["responses"]} if described else {404, 405}
        check(answer, method, statuses | ({200} if path in ("/", "/docs") else set()))
