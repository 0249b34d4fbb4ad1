"""python -m tests.benchmarks.serving IMAGES --model FILE PART …: how fast a model answers.

- `rivals`: one image in a request, 8 clients: `fovea serve`, and `mlflow models serve` with both
  flavors of a version. The flavor `keras` gets pixels that the client has decoded before.
- `one`: one image in this process, beside its decoding and the traced call alone
- `folder`: `fovea predict` on the folder, beside decoding alone and the network alone
- `load`: many requests to one server, its memory, and a champion that is swapped meanwhile

IMAGES is a folder of image files. Every server is a process of its own on 127.0.0.1, and stands in
a folder of its own with an sqlite store. Times are in seconds, and memory is in megabytes.
"""

import argparse
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil

from components.images.fault import Fault
from components.parallel import in_threads
from components.registry.versions import register_version
from components.serving import Model, load
from components.tracking.connection import client
from components.tracking.runs import start_run
from tests.benchmarks.quiet import start_quietly
from tests.benchmarks.timing import median_s
from tests.components.origins import ORIGIN

CLIENTS = 8
NAME = "bench"
FIELDS = ("requests a second", "p50 ms", "p99 ms", "failed")


@dataclass
class Load:
    """What clients have seen. latencies_s: of each answer with the status 200."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0
    versions: dict[int, int] = field(default_factory=dict)

    def row(self) -> tuple[str, ...]:
        """Return requests a second, p50, p99 and failures as texts."""
        latencies = sorted(self.latencies_s) or [float("nan")]
        p50, p99 = statistics.median(latencies), latencies[int(0.99 * (len(latencies) - 1))]
        rate = len(self.latencies_s) / self.seconds
        return f"{rate:.1f}", f"{1000 * p50:.1f}", f"{1000 * p99:.1f}", str(self.failed)


@dataclass(frozen=True)
class Body:
    """The body of a request and its type."""

    kind: str
    content: bytes


def ask(address: str, path: str, bodies: Sequence[Body], seconds: float, most: int = 10**9) -> Load:
    """Let CLIENTS clients send bodies, each one after the answer to the one before."""
    found, lock, until = Load(), threading.Lock(), time.monotonic() + seconds
    sent = iter(range(most))

    def work(first: int) -> None:
        place = urlsplit(address)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
        for number in sent:
            if time.monotonic() > until:
                break
            body = bodies[(first + number) % len(bodies)]
            begun = time.perf_counter()
            try:
                connection.request("POST", path, body.content, {"Content-Type": body.kind})
                answer = connection.getresponse()
                content, fine = answer.read(), answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                content, fine = b"", False
            taken = time.perf_counter() - begun
            with lock:
                found.failed += not fine
                if fine:
                    found.latencies_s.append(taken)
                    if path == "/predict":
                        version = json.loads(content)["model"]["version"] or 0
                        found.versions[version] = found.versions.get(version, 0) + 1

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.monotonic() - begun
    return found


@contextmanager
def server(command: Sequence[str], port: int, health: str) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server for a `with` statement; yield its address and its process."""
    with Path("server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait(port, health, process)
            yield address, psutil.Process(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(port: int, health: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"the server has ended:\n{Path('server.log').read_text()}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", health)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("the server does not answer")


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def fovea_server(model: str, *more: str) -> tuple[list[str], int, str]:
    """Return the command, the port and the path of health of `fovea serve`."""
    port, fovea = free_port(), "from pipelines.commands.fovea import main; main()"
    options = ["--model", model, "--port", str(port), *more]
    return [sys.executable, "-c", fovea, "serve", *options], port, "/readyz"


def mlflow_server(model: str) -> tuple[list[str], int, str]:
    """Return the command, the port and the path of health of `mlflow models serve`."""
    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    return [*serve, "-m", model, "--host", "127.0.0.1", "--port", str(port)], port, "/ping"


def rivals(model: Model, file: Path, images: Sequence[bytes], seconds: float) -> None:
    """Print the table of `fovea serve` beside both flavors of MLflow."""
    pixels = [model.pixels(image) for image in images]
    texts = [base64.b64encode(image).decode() for image in images]
    tensors = [as_json({"inputs": [image.tolist()]}) for image in pixels]
    records = [as_json({"dataframe_records": [{"image": text}]}) for text in texts]
    shutil.copytree(_folder_of(1), "keras_flavor")
    _keep_keras_flavor(Path("keras_flavor"))
    rows = {}
    for name, (command, port, health), path, bodies in (
        ("fovea serve", fovea_server(f"models:/{NAME}/1"), "/predict", forms(images)),
        ("mlflow, python_function", mlflow_server(f"models:/{NAME}/1"), "/invocations", records),
        ("mlflow, keras", mlflow_server("keras_flavor"), "/invocations", tensors),
    ):
        with server(command, port, health) as (address, _):
            ask(address, path, bodies, seconds=5)  # what is compiled late
            rows[name] = ask(address, path, bodies, seconds)
    _print_rows(rows)


def as_json(tree: object) -> Body:
    """Return a body of JSON."""
    return Body("application/json", json.dumps(tree).encode())


def forms(images: Sequence[bytes]) -> list[Body]:
    """Return a form with one file for each image."""
    begin = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'
    return [
        Body("multipart/form-data; boundary=b", begin + image + b"\r\n--b--\r\n")
        for image in images
    ]


def _folder_of(number: int) -> Path:
    from mlflow.artifacts import download_artifacts

    client()
    return Path(download_artifacts(f"models:/{NAME}/{number}"))


def _keep_keras_flavor(folder: Path) -> None:
    """Let the flavor `keras` answer in `python_function`, as Fovea logged models before."""
    import yaml

    described = yaml.safe_load((folder / "MLmodel").read_text())
    pyfunc = described["flavors"]["python_function"]
    pyfunc.update(loader_module="mlflow.keras", data="data")
    pyfunc.pop("config", None)
    described.pop("signature", None)
    described.pop("saved_input_example_info", None)
    (folder / "MLmodel").write_text(yaml.safe_dump(described))


def one(model: Model, file: Path, images: Sequence[bytes], seconds: float) -> None:
    """Print the time of one prediction, beside its decoding and the traced call alone."""
    image, pixels = images[0], model.pixels(images[0])[np.newaxis]
    model.warm_up()
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: model.pixels(image),
        "traced call": lambda: np.asarray(model.compute(pixels)),
        "predict": lambda: model.predict([image]),
    }
    times = {name: median_s(work, 301) for name, work in parts.items()}
    ratio = times["predict"] / (times["decode"] + times["traced call"])
    for name, value in times.items():
        print(f"| {name} | {1000 * value:.2f} ms |")
    print(f"| predict / (decode + traced call) | {ratio:.2f} |")


def folder(model: Model, file: Path, images: Sequence[bytes], seconds: float) -> None:
    """Print images a second of `fovea predict`, of decoding alone and of the network alone."""
    Path("images").mkdir()
    for number, image in enumerate(images):
        Path("images", f"{number:06}").write_bytes(image)
    pixels = np.stack([model.pixels(image) for image in images])
    model.warm_up()
    model.probabilities(pixels[:64])

    def decode_all() -> None:
        for _ in in_threads(model.pixels, images):
            pass

    def predict_all() -> None:
        for _ in model.stream(sorted(Path("images").iterdir())):
            pass

    rates = {
        "decoding alone": len(images) / median_s(decode_all),
        "network alone": len(images) / median_s(lambda: model.probabilities(pixels)),
        "both": len(images) / median_s(predict_all),
    }
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} images/s |")
    slower = min(rates["decoding alone"], rates["network alone"])
    print(f"| both / the slower one | {rates['both'] / slower:.2f} |")


def load_test(model: Model, file: Path, images: Sequence[bytes], seconds: float) -> None:
    """Print the memory of a server under load, and what a swap of the champion loses."""
    started = fovea_server(f"models:/{NAME}@champion", "--check-every", "1")
    with server(*started) as (address, process):
        bodies = forms(images)
        ask(address, "/predict", bodies, 1e9, most=2_000)
        before = _megabytes(process)
        most = int(os.environ.get("REQUESTS", "50000"))
        found = ask(address, "/predict", bodies, 1e9, most=most)
        after = _megabytes(process)
        _print_rows({f"{most} requests": found})
        print(f"| memory | {before:.0f} and {after:.0f} MB, {100 * (after / before - 1):+.1f} % |")
        threading.Timer(10, lambda: _promote(2)).start()
        _print_rows({"swap": (swapped := ask(address, "/predict", bodies, 60))})
        print(f"| answers by version | {swapped.versions} |")
        print(f"| memory after the swap | {_megabytes(process):.0f} MB |")


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def _promote(number: int) -> None:
    client().set_registered_model_alias(NAME, "champion", str(number))


def _print_rows(rows: dict[str, Load]) -> None:
    print(f"| server | {' | '.join(FIELDS)} |")
    print("|---" * (len(FIELDS) + 1) + "|")
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(found.row())} |", flush=True)


def _read(folder: Path, model: Model) -> list[bytes]:
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    fine = []
    for content in files:
        try:
            model.pixels(content)
        except Fault:
            continue
        fine.append(content)
    return fine


def _register(file: Path) -> None:
    from components.model.model_file import read_classifier, write_classifier

    classifier = read_classifier(file)
    logits = classifier.model.get_layer("logits")
    for number in (1, 2):
        logits.set_weights([weights * number for weights in logits.get_weights()])
        write_classifier(Path("version.keras"), classifier)
        with start_run("train", ORIGIN, {"stage": "train"}) as run:
            pass
        size = classifier.size
        example = np.zeros((1, size, size, 3), np.uint8)
        names = len(classifier.class_names)
        register_version(NAME, Path("version.keras"), run, example, names, {"verdict": "promote"})
    _promote(1)


PARTS = {"rivals": rivals, "one": one, "folder": folder, "load": load_test}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the parts asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("part", nargs="+", choices=list(PARTS))
    parser.add_argument("--model", type=Path, required=True, help="a .keras file")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each server")
    given = parser.parse_args(arguments)
    start_quietly()
    file, pictures = given.model.resolve(), given.images.resolve()
    model = load(file)
    images = _read(pictures, model)
    with ExitStack() as stack:
        stack.enter_context(chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        _register(file)
        for name in given.part:
            print(f"\n## {name}: {len(images)} images, {model.classifier.size} pixels\n")
            PARTS[name](model, file, images, given.seconds)


if __name__ == "__main__":
    main()
