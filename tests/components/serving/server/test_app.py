"""A server answers as the model does, and says in one sentence what is wrong with a request."""

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import as_completed

import pytest
from starlette.requests import Request

from components.serving import Model
from components.serving.batching import Batcher
from components.serving.server.app import EXPLAINED
from components.serving.server.bodies import Limits
from components.serving.server.guard import host_name
from components.serving.server.pages import drop_page
from tests.components.serving.conftest import NAMES
from tests.components.serving.server.conftest import Start


def as_form(*images: bytes):
    return [("image", image) for image in images]


def as_json(*images: bytes):
    return {"images": [base64.b64encode(image).decode() for image in images]}


def problem(response, status: int) -> str:
    """Check an answer that is no prediction, and return what it says."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    tree = response.json()
    assert tree["status"] == status
    assert tree["title"] and tree["detail"]
    return tree["detail"]


def test_forms_and_json_get_the_predictions_of_the_model(client, model: Model, images):
    sent = [*images, b"no image"]
    expected = model.predict(sent, top=3)
    for response in (
        client.post("/predict?top=3", files=as_form(*sent)),
        client.post("/predict?top=3", json=as_json(*sent)),
    ):
        assert response.status_code == 200
        tree = response.json()
        assert tree["model"] == {"name": None, "version": None, "sha256": ""}
        assert len(tree["images"]) == len(sent)
        for found, wanted in zip(tree["images"], expected, strict=True):
            assert (found["label"], found["fault"]) == (wanted.label, wanted.fault)
            assert [one["label"] for one in found["top"]] == [name for name, _ in wanted.top]
            shares = [share for _, share in wanted.top]
            assert [one["probability"] for one in found["top"]] == pytest.approx(shares, abs=1e-5)
        assert tree["images"][-1] == {
            "label": None,
            "probability": None,
            "top": [],
            "fault": "not_an_image",
            "reason": expected[-1].reason,
        }


def test_a_request_without_a_readable_image_is_a_problem_that_has_the_codes(client):
    response = client.post("/predict", files=as_form(b"no image", b""))
    assert "no image can be read" in problem(response, 422)
    assert [one["fault"] for one in response.json()["images"]] == ["not_an_image", "empty_file"]


LIMITS = Limits(images=3, body_bytes=2_000, all_bytes=4_000, seconds=0.3)
WRONG = {
    "another type": (415, "must be multipart/form-data or application/json", {"content": b"x"}),
    "no JSON": (400, "no JSON", {"content": b"{", "headers": {"content-type": "application/json"}}),
    "deep JSON": (
        400,
        "no JSON",
        {"content": b"[" * 1_900, "headers": {"content-type": "application/json"}},
    ),
    "JSON of another shape": (422, "other JSON", {"json": {"pictures": []}}),
    "JSON with another key": (422, "other keys", {"json": {"images": ["aGk="], "top": 3}}),
    "many empty lists": (
        413,
        "601 values",
        {"content": b"[" + b"[]," * 600 + b"[]]", "headers": {"content-type": "application/json"}},
    ),
    "JSON with numbers": (422, "other JSON", {"json": {"images": [1]}}),
    "a list": (422, "other JSON", {"json": ["x"]}),
    "no base64": (422, "image 2 must be base64", {"json": {"images": ["aGk=", "%%"]}}),
    "letters of other alphabets": (422, "image 1 must be base64", {"json": {"images": ["ää"]}}),
    "no images": (422, "no image in the request", {"json": {"images": []}}),
    "a form without a boundary": (
        400,
        "the form must have files",
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
    ),
    "a broken form": (
        400,
        "the form must have files",
        {"content": b"xyz", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ),
    "a form that ends too early": (
        400,
        "its last boundary is missing",
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n'
            b"\r\nx\r\n--b\r\n",
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
    ),
    "a form of a strange charset": (
        400,
        "must have the charset utf-8",
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n'
            b"\r\nx\r\n--b--\r\n",
            "headers": {"content-type": "multipart/form-data; boundary=b; charset=undefined"},
        },
    ),
    "another field": (422, "the field picture", {"files": {"picture": b"x"}}),
    "a text in a form": (400, "nothing else", {"data": {"image": "x"}, "files": as_form(b"x")}),
    "too many files": (413, "at most 3 images", {"files": as_form(*[b"x"] * 4)}),
    "too many images in JSON": (413, "4 values", {"json": as_json(*[b"x"] * 4)}),
    "too many bytes": (413, "at most 2,000 bytes", {"files": as_form(b"x" * 3_000)}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_body_is_refused_with_one_sentence(start: Start, case: str):
    status, text, body = WRONG[case]
    assert text in problem(start(LIMITS).post("/predict", **body), status)


def test_a_body_without_a_length_is_refused_when_it_is_too_long(start: Start):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    headers = {"content-type": "application/json"}
    response = start(LIMITS).post("/predict", content=chunks(), headers=headers)
    assert "at most 2,000 bytes" in problem(response, 413)


@pytest.mark.parametrize("top", ["0", "-1", "4", "x", "1e9"])
def test_top_is_a_number_of_classes(client, images, top):
    detail = problem(client.post(f"/predict?top={top}", files=as_form(*images)), 422)
    assert "top" in detail
    assert f"Received: {top}" in detail


def test_too_many_images_at_once_get_503_and_a_hint_when_to_come_back(start: Start, images):
    client = start()
    batcher = client.answers.follower.current.batcher
    batcher.reserve(batcher.places - 1)
    assert client.get("/readyz").status_code == 200
    response = client.post("/predict", files=as_form(*images))
    assert "too many images wait" in problem(response, 503)
    assert response.headers["retry-after"] == "1"
    assert client.post("/predict", files=as_form(images[0])).status_code == 200
    wait_for_taken(batcher, batcher.places - 1)
    batcher.reserve(1)
    problem(client.get("/readyz"), 503)
    assert client.get("/healthz").status_code == 200
    batcher.give_back(batcher.places)
    assert client.post("/predict", files=as_form(*images)).status_code == 200
    wait_for_taken(batcher, 0)


def wait_for_taken(batcher: Batcher, count: int) -> None:
    """Wait until so many places are taken: they are given back a moment after the answer."""
    until = time.monotonic() + 30
    while batcher.taken != count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_network_that_does_not_answer_in_time_gives_503_and_its_places_back(start, images):
    client = start(Limits(seconds=0.3))
    batcher = client.answers.follower.current.batcher
    compute, free = batcher._compute, threading.Event()
    batcher._compute = lambda pixels: (free.wait(10), compute(pixels))[1]
    assert "no answer within 0.3 s" in problem(client.post("/predict", files=as_form(*images)), 503)
    free.set()
    assert client.post("/predict", files=as_form(*images)).status_code == 200
    assert batcher.taken == 0


def test_images_that_are_not_decoded_in_time_give_their_places_back(
    start: Start, model: Model, images
):
    client = start(Limits(seconds=0.3))
    served, free = client.answers.follower.current, threading.Event()
    pixels = lambda content: (free.wait(10), model.pixels(content))[1]  # noqa: E731
    object.__setattr__(served.model, "pixels", pixels)
    assert "no answer within" in problem(client.post("/predict", files=as_form(*images)), 503)
    assert served.batcher.taken == 0
    free.set()
    assert client.post("/predict", files=as_form(*images)).status_code == 200


def test_an_explanation_has_the_map_and_the_class_it_is_for(client, model: Model, images):
    [expected] = model.predict([images[0]], top=3)
    tree = client.post("/predict/explain", files=as_form(images[0])).json()
    assert tree["explained"] == tree["image"]["label"] == expected.label
    picture = tree["picture"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(picture)[:8] == b"\x89PNG\r\n\x1a\n"
    for name in NAMES:
        tree = client.post(
            "/predict/explain", params={"label": name}, files=as_form(images[0])
        ).json()
        assert tree["explained"] == name
    detail = problem(client.post("/predict/explain?label=cow", files=as_form(images[0])), 422)
    assert detail == "the model has no such class. Received: cow"
    problem(client.post("/predict/explain", files=as_form(*images)), 413)
    response = client.post("/predict/explain", files=as_form(b"no image"))
    problem(response, 422)
    assert response.json()["fault"] == "not_an_image"


TOKEN = "sécret"
BASIC = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Basic {BASIC}", 200),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        (TOKEN, 401),
        ("Basic %%%", 401),
        (f"Digest {TOKEN}", 401),
    ],
)
def test_a_token_is_needed_for_all_but_the_health(start: Start, images, header, status):
    client = start(token=TOKEN)
    headers = {} if header is None else {b"Authorization": header.encode()}
    for path in ("/", "/docs", "/model", "/metrics", "/openapi.json"):
        assert client.get(path, headers=headers).status_code == status
    response = client.post("/predict", files=as_form(images[0]), headers=headers)
    assert response.status_code == status
    if status == 401:
        problem(response, 401)
        assert response.headers["www-authenticate"].startswith("Basic")
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_unknown_paths_and_methods_are_problems(client):
    problem(client.get("/nothing"), 404)
    problem(client.get("/predict"), 405)


def test_a_page_under_another_name_gets_nothing(client, images):
    response = client.post(
        "/predict", files=as_form(images[0]), headers={"host": "evil.example.org"}
    )
    assert "Received: Host: evil.example.org" in problem(response, 421)
    assert client.get("/healthz", headers={"host": "127.0.0.1:8000"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("LocalHost:8000", "localhost"),
        ("[::1]", "[::1]"),
        ("[::1]:8000", "[::1]"),
        ("", ""),
    ],
)
def test_the_name_of_a_host_has_no_port(header: str, name: str):
    scope = {"type": "http", "headers": [(b"host", header.encode())]}
    assert host_name(Request(scope)) == name


def test_a_large_request_does_not_hold_up_a_small_one(client, model: Model, images, monkeypatch):
    order: list[int] = []
    answering = client.answers.follower.current.model

    def slow(content: bytes):
        order.append(len(order))
        time.sleep(0.02)
        return model.pixels(content)

    object.__setattr__(answering, "pixels", slow)
    large = client.begin("POST", "/predict", files=as_form(*images * 20))
    while not order:
        time.sleep(0.001)
    assert client.post("/predict", files=as_form(images[0])).status_code == 200
    assert len(order) < 60
    assert large.result(60).status_code == 200
    assert len(order) == 101


def test_few_explanations_are_in_work_at_once(client, images):
    served = client.answers.follower.current
    grad_cam, free = served.grad_cam(), threading.Event()
    served.grad_cam = lambda: (free.wait(10), grad_cam)[1]
    begun = [
        client.begin("POST", "/predict/explain", files=as_form(images[0]))
        for _ in range(EXPLAINED + 1)
    ]
    done = next(as_completed(begun, 10))
    assert "too many explanations" in problem(done.result(), 503)
    free.set()
    statuses = sorted(answer.result(60).status_code for answer in begun)
    assert statuses == [200] * EXPLAINED + [503]
    assert client.post("/predict/explain", files=as_form(images[0])).status_code == 200


def test_what_has_come_of_all_bodies_is_bounded_and_freed(start: Start):
    client, free = start(Limits(body_bytes=1_000, all_bytes=1_500)), threading.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b" " * 900
        while not free.is_set():
            await asyncio.sleep(0.01)
            yield b""

    headers = {"content-type": "application/json"}
    first = client.begin("POST", "/predict", content=slowly(), headers=headers)
    time.sleep(0.3)
    response = client.post("/predict", content=b" " * 900, headers=headers)
    assert "too many bytes" in problem(response, 503)
    problem(client.post("/predict", content=b" " * 500, headers=headers), 400)
    free.set()
    problem(first.result(10), 400)
    for _ in range(3):
        problem(client.post("/predict", content=b" " * 900, headers=headers), 400)


def test_the_most_images_are_answered(start: Start, images):
    client = start(Limits(images=3))
    assert client.post("/predict", json=as_json(*images[:3])).status_code == 200
    assert client.post("/predict", files=as_form(*images[:3])).status_code == 200
    schema = client.get("/openapi.json").json()["paths"]
    for path, most in (("/predict", 3), ("/predict/explain", 1)):
        [form, tree] = schema[path]["post"]["requestBody"]["content"].values()
        assert form["schema"]["properties"]["image"]["maxItems"] == most
        assert tree["schema"]["properties"]["images"]["maxItems"] == most


def test_why_another_version_does_not_answer_is_shown(client):
    assert client.get("/model").json()["trouble"] is None
    assert "fovea_behind 0.0" in client.get("/metrics").text.splitlines()
    client.answers.follower._trouble = "version 2 is refused"
    assert client.get("/model").json()["trouble"] == "version 2 is refused"
    assert "fovea_behind 1.0" in client.get("/metrics").text.splitlines()
    assert client.get("/readyz").status_code == 200


def test_the_examples_of_the_page_are_complete():
    page = drop_page({"name": None, "version": None}, 2, "http://h", token=True)
    assert "http://h/predict?top=2" in page
    assert "import os" in page
    assert "Bearer" in page
    page = drop_page({"name": "<b>", "version": 3}, 9, "http://h", token=False)
    assert "http://h/predict?top=3" in page
    assert "Bearer" not in page
    assert "<b>" not in page


def test_metrics_count_what_was_done(client, images):
    client.post("/predict", files=as_form(*images, b"no image"))
    client.get("/somewhere/else")
    lines = client.get("/metrics").text.splitlines()
    assert 'fovea_requests_total{path="/predict",status="200"} 1.0' in lines
    assert 'fovea_requests_total{path="other",status="404"} 1.0' in lines
    assert 'fovea_faults_total{code="not_an_image"} 1.0' in lines
    predicted = [line for line in lines if line.startswith("fovea_predictions_total{")]
    assert sum(float(line.rpartition(" ")[2]) for line in predicted) == len(images)
    for phase in ("read", "whole", "decode", "wait", "compute"):
        assert any(f'phase="{phase}"' in line for line in lines), phase
    assert "fovea_images_in_work 0.0" in lines


def test_the_model_and_the_pages_are_shown_without_another_server(client):
    tree = client.get("/model").json()
    assert tree["classes"] == list(NAMES)
    assert (tree["card"], tree["shadow"]) == ("# A card", None)
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "Content-Security-Policy" in page
        outside = page.replace("http://127.0.0.1/predict", "").replace("www.w3.org", "")
        assert "http" not in outside.partition("<main>")[2].replace("httpx", "")
    assert "/predict/explain" in client.get("/docs").text
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]["/predict"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
    }
