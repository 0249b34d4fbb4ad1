"""A version in MLflow → whether a server of it gives the answers of the stage `evaluate`.

A fresh process loads the version from what MLflow stores, and serves it on 127.0.0.1. It is asked
for some test images over HTTP. If one of its answers is another one, or if it does not answer, the
version must not become the champion by the verdict alone, however good its figures are.
"""

import base64
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import psutil
from numpy.typing import NDArray

from components.errors import one_line
from components.evaluation.gate import Verdict
from components.images.fault import Fault
from components.params.register import Serving
from components.registry.contest import Contest
from components.registry.versions import Version
from components.sources.reading import read_bytes
from pipelines import artifacts
from pipelines.workspace.processes import end_group, stage_environment

IMAGES = 20
TIMES = 3  # how often seconds and memory are measured; the best counts
START_S, ANSWER_S = 180.0, 60.0
# Batches of other sizes round differently; and in float16 and bfloat16, much more.
TOLERANCE, HALF_TOLERANCE = 1e-4, 0.02


@dataclass(frozen=True)
class Blessing:
    """What a server of a version has shown.

    doubts: sentences about what is wrong; empty if nothing is. latency_ms: the time of a request
    with one image. memory_mb: the memory of the server. Both are NaN if it did not answer.
    """

    doubts: tuple[str, ...]
    latency_ms: float = float("nan")
    memory_mb: float = float("nan")

    def applied(self, verdict: Verdict) -> Verdict:
        """Return the verdict with the doubts: with one of them, it is at most `hold`."""
        if not self.doubts:
            return verdict
        if verdict.decision == "promote":
            return replace(verdict, decision="hold", reasons=(*self.doubts, *verdict.reasons))
        return replace(verdict, reasons=(*verdict.reasons, *self.doubts))


def bless(
    version: Version, contest: Contest, probabilities: NDArray[np.float32], limits: Serving
) -> Blessing:
    """Serve a version, ask it, and compare its answers with those of the stage `evaluate`.

    contest: the test images. probabilities: float32 [N, C], what `evaluate` has predicted for them.
    """
    rows = np.unique(np.linspace(0, len(probabilities) - 1, IMAGES).round().astype(np.int64))
    try:
        contents = [_content(contest, row) for row in rows]
        with _server(version) as (port, process):
            found = _probabilities(port, contents, contest.class_names)
            measured = [_measure(port, process, contents) for _ in range(TIMES)]
    except (OSError, ValueError, http.client.HTTPException, Fault) as error:
        return Blessing((f"a server of this version does not answer: {one_line(error)}",))
    latency, memory = (min(values) for values in zip(*measured, strict=True))
    doubts = [
        *_differences(probabilities[rows], found, contest.class_names),
        *_above("needs", latency, limits.max_latency_ms, "ms for one image"),
        *_above("has", memory, limits.max_memory_mb, "MB of memory"),
    ]
    return Blessing(tuple(doubts), latency, memory)


def _content(contest: Contest, row: int) -> bytes:
    path = str(contest.rows["path"].iloc[row])
    limit = contest.ingest.decode.max_bytes
    return read_bytes(contest.root, path, limit, artifacts.STATE)


@contextmanager
def _server(version: Version) -> Iterator[tuple[int, psutil.Process]]:
    """Serve a version for a `with` statement, and yield the port and the process."""
    address = f"models:/{version.name}/{version.number}"
    command = [sys.executable, "-m", "pipelines.commands.fovea", "serve", "--model", address]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=stage_environment({"FOVEA_SERVE_TOKEN": ""}),
        start_new_session=True,
        text=True,
    )
    try:
        yield _port(process), psutil.Process(process.pid)
    finally:
        end_group(process)


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    lines = []
    until = time.monotonic() + START_S
    for line in process.stdout:
        if found := re.search(r"answers at http://127\.0\.0\.1:(\d+)/", line):
            return int(found[1])
        lines.append(line.strip())
        if time.monotonic() > until:
            break
    raise ValueError(" ".join(lines[-3:]) or "it has ended without a word")


def _probabilities(
    port: int, contents: Sequence[bytes], class_names: Sequence[str]
) -> list[dict[str, float]]:
    """Return class → probability for each image, or an empty dict for one that is refused."""
    answers = _ask(port, contents, len(class_names))
    return [{one["label"]: one["probability"] for one in image["top"]} for image in answers]


def _ask(port: int, contents: Sequence[bytes], top: int) -> list[dict[str, object]]:
    body = json.dumps({"images": [base64.b64encode(content).decode() for content in contents]})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/predict?top={top}", body, headers)
        answer = connection.getresponse()
        tree = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"status {answer.status}, {tree.get('detail')}")
    images: list[dict[str, object]] = tree["images"]
    return images


def _measure(port: int, process: psutil.Process, contents: Sequence[bytes]) -> tuple[float, float]:
    """Return the median time of a request with one image in ms, and the memory in MB."""
    times = []
    for content in contents:
        begun = time.perf_counter()
        _ask(port, [content], 1)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times)), process.memory_info().rss / 1e6


def _differences(
    expected: NDArray[np.float32], found: Sequence[dict[str, float]], class_names: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence if an answer is another one than that of `evaluate`."""
    served = np.array([[each.get(name, np.nan) for name in class_names] for each in found])
    largest = np.abs(served - expected).max(axis=1)
    # Two classes with nearly equal probabilities may change places, which is no other answer.
    other = int((~(largest <= tolerance())).sum())
    if other:
        worst = "no answer" if np.isnan(largest).any() else f"up to {largest.max():.2g}"
        yield (
            f"a server of this version gives other probabilities than `evaluate` for {other} of "
            f"{len(found)} test images (a difference of {worst})"
        )


def tolerance() -> float:
    """Return by how much probabilities may differ: more where Keras computes in half precision."""
    import keras

    half = keras.config.dtype_policy().compute_dtype != "float32"
    return HALF_TOLERANCE if half else TOLERANCE


def _above(verb: str, value: float, most: float | None, unit: str) -> Iterator[str]:
    if most is not None and value > most:
        yield f"a server of this version {verb} {value:.0f} {unit}, more than {most:g}"
