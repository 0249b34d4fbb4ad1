"""A version in MLflow → whether a server of it gives the answers of the stage `evaluate`.

A fresh process loads the version from what MLflow stores, and serves it on 127.0.0.1. It is asked
for some test images over HTTP. If one of its answers is another one, or if it does not answer, the
version must not become the champion by the verdict alone, however good its figures are.
"""

import http.client
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.images.fault import Fault
from components.params.register import Serving
from components.registry.blessing import Blessing
from components.registry.contest import Contest
from components.registry.versions import Version, forget_download
from components.sources.reading import read_bytes
from components.words import count_text, name_list
from pipelines import artifacts
from pipelines.version_server import ServerFailedError, VersionServer

log = logging.getLogger(__name__)

IMAGES = 20  # of the test split
TIMES, MEASURED = 3, 5  # how often seconds and memory are measured, with how many of the images
ANSWER_S = 60.0
REQUEST_BYTES = 32_000_000  # images in one request; a server takes 64 MB
# Batches of other sizes round differently; and in half precision, much more.
TOLERANCE, HALF_TOLERANCE = 1e-4, 0.02

Answer = Mapping[str, Any]  # what the server says about an image


def bless(
    server: VersionServer,
    version: Version,
    contest: Contest,
    probabilities: NDArray[np.float32],
    limits: Serving,
) -> Blessing:
    """Let a server serve a version, and compare its answers with those of the stage `evaluate`.

    server: a process that serves nothing yet. contest: the test images. probabilities: float32
    [N, C], what `evaluate` has predicted for them; column c belongs to contest.class_names[c].
    limits: the most time and memory. Time and memory are measured TIMES times, and the best counts,
    because other processes of the machine can only make them worse.
    """
    # Evenly over all rows, so that classes and files of all parts of the split are among them.
    rows = np.unique(np.linspace(0, len(probabilities) - 1, IMAGES).round().astype(np.int64))
    try:
        contents = [_content(contest, row) for row in rows]
        forget_download(version)
        ready = server.serve(f"models:/{version.name}/{version.number}")
        asked = _Asked(server, ready.port, version.model_id, len(contest.class_names))
        answers = [answer for group in _groups(contents) for answer in asked.predict(group)]
        measured = [asked.measure(contents[:MEASURED]) for _ in range(TIMES)]
    except ServerFailedError as error:
        log.warning(f"{error}: {error.details or 'it has said nothing'}")
        return Blessing((str(error),), said=error.details)
    latency, memory = (min(values) for values in zip(*measured, strict=True))
    tolerance = HALF_TOLERANCE if ready.half else TOLERANCE
    doubts = [
        *_differences(probabilities[rows], answers, contest.class_names, tolerance),
        *_above("needs", latency, limits.max_latency_ms, "ms for one image"),
        *_above("has", memory, limits.max_memory_mb, "MB of memory"),
    ]
    return Blessing(tuple(doubts), tuple(_notes(len(rows), limits)), latency, memory)


def _content(contest: Contest, row: int) -> bytes:
    path = str(contest.rows["path"].iloc[row])
    limit = contest.ingest.decode.max_bytes
    try:
        return read_bytes(contest.root, path, limit, artifacts.STATE)
    except Fault as fault:
        text = f"a test image cannot be read ({fault.code}), so no server of this version was asked"
        raise ServerFailedError(text, f"{path}: {fault.text}") from None


def _groups(contents: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the images in groups that one request may have."""
    group: list[bytes] = []
    for content in contents:
        if group and sum(map(len, group)) + len(content) > REQUEST_BYTES:
            yield group
            group = []
        group.append(content)
    yield group


class _Asked:
    """A server that answers, and how it is asked."""

    def __init__(self, server: VersionServer, port: int, model_id: str, classes: int) -> None:
        self._server, self._port, self._model_id, self._classes = server, port, model_id, classes

    def predict(self, contents: Sequence[bytes]) -> list[Answer]:
        """Return the answer for each image. Raises ServerFailedError if there is none."""
        try:
            status, text = self._post(contents)
        except TimeoutError:
            raise self._server.failed(f"gives no answer within {ANSWER_S:.0f} s") from None
        except (OSError, http.client.HTTPException) as error:
            ended = self._server.has_ended()
            raise self._server.failed(
                "ended while it was asked" if ended else "breaks a connection off"
            ) from error
        if status not in (200, 422):  # 422: no image of the request can be read.
            raise self._server.failed(f"answers with the status {status}")
        tree = json.loads(text)
        if "images" not in tree:
            raise self._server.failed(f"refuses a request ({tree['detail']})")
        if tree["model"]["sha256"] != self._model_id:
            raise self._server.failed("answers by another model")
        images: list[Answer] = tree["images"]
        return images

    def measure(self, contents: Sequence[bytes]) -> tuple[float, float]:
        """Return the median time of a request with one image in ms, and the memory in MB."""
        times = []
        for content in contents:
            begun = time.perf_counter()
            self.predict([content])
            times.append(1000 * (time.perf_counter() - begun))
        return float(np.median(times)), self._server.memory_mb()

    def _post(self, contents: Sequence[bytes]) -> tuple[int, bytes]:
        """Send images as files of a form. Return the status and the body of the answer."""
        boundary = secrets.token_hex(16)
        head = 'Content-Disposition: form-data; name="image"; filename="image"'
        parts = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + each + b"\r\n" for each in contents]
        body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        with closing(connection):
            connection.request("POST", f"/predict?top={self._classes}", body, kind)
            answer = connection.getresponse()
            return answer.status, answer.read()


def _differences(
    expected: NDArray[np.float32],
    answers: Sequence[Answer],
    class_names: Sequence[str],
    tolerance: float,
) -> Iterator[str]:
    """Yield a sentence for each way in which answers are other ones than those of `evaluate`.

    expected: float32 [N, C], the probabilities of `evaluate` for the N images of the answers.
    """
    of = f"of {count_text(len(answers), 'test image')}"
    if refused := [answer["fault"] for answer in answers if answer["fault"]]:
        codes = name_list(Counter(refused))
        yield f"a server of this version refuses {len(refused)} {of} ({codes})"
    pairs = [
        (row, {each["label"]: each["probability"] for each in answer["top"]})
        for row, answer in zip(expected, answers, strict=True)
        if not answer["fault"]
    ]
    if any(set(found) != set(class_names) for _, found in pairs):
        yield "a server of this version has other classes than the evaluation"
        return
    # The predicted class is not compared: two classes with nearly equal probabilities may change
    # places, which is no other answer.
    largest = [
        max(abs(found[name] - value) for name, value in zip(class_names, row.tolist(), strict=True))
        for row, found in pairs
    ]
    if other := sum(not difference <= tolerance for difference in largest):
        yield (
            "a server of this version gives other probabilities than the evaluation for "
            f"{other} {of} (a difference of up to {max(largest):.2g})"
        )


def _above(verb: str, value: float, most: float | None, unit: str) -> Iterator[str]:
    if most is not None and value > most:
        yield f"a server of this version {verb} more than {most:g} {unit}"


def _notes(images: int, limits: Serving) -> Iterator[str]:
    same = "a server of this version gives the probabilities of the evaluation"
    yield f"{same} for {count_text(images, 'test image')}"
    if limits.max_latency_ms is not None:
        yield f"a server of this version needs at most {limits.max_latency_ms:g} ms for one image"
    if limits.max_memory_mb is not None:
        yield f"a server of this version has at most {limits.max_memory_mb:g} MB of memory"
