"""python -m tests.benchmarks.serving IMAGES --model FILE [PART …]: how fast a model answers.

- `rivals`: one image in a request, 8 clients: `fovea serve`, and `mlflow models serve` with both
  flavors of a version. The flavor `keras` gets pixels that the client has decoded before.
- `one`: one image in this process, beside its decoding and the traced call alone
- `folder`: `fovea predict` on the folder, beside decoding alone and the network alone
- `load`: many requests to one server, its memory, and a champion that is swapped meanwhile

IMAGES is a folder of image files, of which at most 300 are used. Without PART, all four run, in
about 12 minutes on two cores; `--quick` runs them in two minutes, to see that they work. Every
server is a process of its own on 127.0.0.1, with an sqlite store in a temporary folder. The tables
are Markdown, and the numbers are in the file of `--output`, too.
"""

import argparse
import base64
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from components.images.fault import Fault
from components.parallel import in_threads
from components.registry.versions import register_version
from components.serving import Model, load
from components.tracking.connection import client
from components.tracking.runs import start_run
from tests.benchmarks.quiet import start_quietly
from tests.benchmarks.serving_clients import (
    FIELDS,
    Body,
    ask,
    fovea_command,
    mlflow_command,
    server,
)
from tests.benchmarks.timing import median_s
from tests.components.origins import ORIGIN

NAME = "bench"
MOST_IMAGES = 300  # as JSON, the pixels of an image have 0.5 MB


@dataclass(frozen=True)
class Size:
    """How much is measured. seconds: for each rival. requests: of the load. times: repetitions."""

    seconds: float
    warm_s: float
    warm_requests: int
    requests: int
    swapped: int
    times: int


WHOLE = Size(30.0, 5.0, 2_000, 50_000, 6_000, 301)
QUICK = Size(4.0, 2.0, 300, 900, 600, 51)


@dataclass(frozen=True)
class Result:
    """A table, and what was promised: (text, value, target, whether it is met)."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence[tuple[str, float, str, bool]]

    def print(self) -> None:
        """Print both as Markdown."""
        _print_table(self.header, self.rows)
        _print_table(
            ("target", "measured", "promised", "met"),
            [
                (text, f"{value:.3g}", target, "yes" if met else "**no**")
                for text, value, target, met in self.targets
            ],
        )


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |", flush=True)
    print()


def at_least(text: str, value: float, least: float) -> tuple[str, float, str, bool]:
    """Return a target that is met by a large value."""
    return text, value, f"at least {least:g}", value >= least


def at_most(text: str, value: float, most: float) -> tuple[str, float, str, bool]:
    """Return a target that is met by a small value."""
    return text, value, f"at most {most:g}", value <= most


def rivals(model: Model, images: Sequence[bytes], size: Size) -> Result:
    """Return the table of `fovea serve` beside both flavors of MLflow."""
    pixels = [model.pixels(image) for image in images]
    texts = [base64.b64encode(image).decode() for image in images]
    tensors = [as_json({"inputs": [image.tolist()]}) for image in pixels]
    records = [as_json({"dataframe_records": [{"image": text}]}) for text in texts]
    _write_keras_flavor(Path("keras_flavor"))
    version, found = f"models:/{NAME}/1", {}
    for name, command, path, bodies in (
        ("fovea serve", fovea_command(version), "/predict", forms(images)),
        ("mlflow, python_function", mlflow_command(version), "/invocations", records),
        ("mlflow, keras", mlflow_command("keras_flavor"), "/invocations", tensors),
    ):
        with server(command) as (address, _):
            ask(address, path, bodies, seconds=size.warm_s)
            found[name] = ask(address, path, bodies, size.seconds)
    ours, ours_in_mlflow, keras = found.values()
    tail = ours.latency_ms(0.99) / ours.latency_ms(0.5)
    failed = sum(load.failed for load in found.values())
    targets = [
        at_least("fovea serve / mlflow, keras", ours.rate / keras.rate, 5),
        at_least("fovea serve / mlflow, python_function", ours.rate / ours_in_mlflow.rate, 1.5),
        at_most("p99 / p50 of fovea serve", tail, 3),
        at_most("failed", failed, 0),
    ]
    rows = [[name, *load.row()] for name, load in found.items()]
    return Result(("server, 8 clients, 1 image", *FIELDS), rows, targets)


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


def _write_keras_flavor(folder: Path) -> None:
    """Write version 1 with the flavor `keras` as `python_function`, as Fovea logged it before."""
    import yaml
    from mlflow.artifacts import download_artifacts

    client()
    shutil.copytree(download_artifacts(f"models:/{NAME}/1"), folder)
    described = yaml.safe_load((folder / "MLmodel").read_text())
    pyfunc = described["flavors"]["python_function"]
    pyfunc["loader_module"] = "mlflow.keras"
    for key in ("config", "data"):
        pyfunc.pop(key, None)
    for key in ("signature", "saved_input_example_info"):
        described.pop(key, None)
    (folder / "MLmodel").write_text(yaml.safe_dump(described))


def one(model: Model, images: Sequence[bytes], size: Size) -> Result:
    """Return the time of one prediction, beside its decoding and the traced call alone."""
    image, pixels = images[0], model.pixels(images[0])[np.newaxis]
    model.warm_up()
    parts: dict[str, Callable[[], object]] = {
        "decoding": lambda: model.pixels(image),
        "traced call": lambda: np.asarray(model.compute(pixels)),
        "predict": lambda: model.predict([image]),
    }
    # In turn, so that other work on the machine harms all three alike.
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(size.times):
        for name, work in parts.items():
            times[name].append(median_s(work, 1))
    medians = {name: float(np.median(found)) for name, found in times.items()}
    ratio = medians["predict"] / (medians["decoding"] + medians["traced call"])
    rows = [[name, f"{1000 * value:.2f}"] for name, value in medians.items()]
    target = at_most("predict / (decoding + traced call)", ratio, 1.2)
    return Result(("one image in this process", "ms"), rows, [target])


def folder(model: Model, images: Sequence[bytes], size: Size) -> Result:
    """Return images a second of `fovea predict`, of decoding alone and of the network alone."""
    Path("images").mkdir()
    for number, image in enumerate(images):
        Path("images", f"{number:06}").write_bytes(image)
    paths = sorted(Path("images").iterdir())
    pixels = np.stack([model.pixels(image) for image in images])
    model.warm_up()
    works: dict[str, Callable[[], object]] = {
        "decoding alone": lambda: list(in_threads(model.pixels, images)),
        "network alone": lambda: model.probabilities(pixels),
        "both": lambda: list(model.stream(paths)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(5):
        for name, work in works.items():
            seconds[name].append(median_s(work, 1))
    rates = {name: len(images) / float(np.median(found)) for name, found in seconds.items()}
    slower = min(rates["decoding alone"], rates["network alone"])
    rows = [[name, f"{rate:.0f}"] for name, rate in rates.items()]
    target = at_least("both / the slower one", rates["both"] / slower, 0.9)
    return Result((f"a folder of {len(images)} images", "images/s"), rows, [target])


def load_test(model: Model, images: Sequence[bytes], size: Size) -> Result:
    """Return the memory of a server under load, and what a swap of the champion loses."""
    _promote(1)
    bodies = forms(images)
    with server(fovea_command(f"models:/{NAME}@champion", "--check-every", "1")) as started:
        address, process = started
        ask(address, "/predict", bodies, most=size.warm_requests)
        before = _megabytes(process)
        found = ask(address, "/predict", bodies, most=size.requests)
        after = _megabytes(process)
        third = size.swapped / 3 / found.rate
        threading.Timer(third, lambda: _promote(2)).start()
        swapped = ask(address, "/predict", bodies, most=size.swapped)
        # A short load may end before the new version is compiled.
        while len(swapped.versions) < 2:
            more = ask(address, "/predict", bodies, seconds=1)
            swapped.failed += more.failed
            swapped.versions += more.versions
        end = _megabytes(process)
    growth = 100 * (after / before - 1)
    rows = [
        [f"{size.requests:,} requests", *found.row(), f"{before:.0f} → {after:.0f}", ""],
        ["a swap meanwhile", *swapped.row(), f"{end:.0f}", _by_version(swapped.versions)],
    ]
    targets = [
        at_most("growth of memory, %", growth, 2),
        at_most("failed", found.failed, 0),
        at_most("failed in the swap", swapped.failed, 0),
    ]
    return Result(("load", *FIELDS, "memory, MB", "answered by"), rows, targets)


def _by_version(versions: dict[int, int]) -> str:
    return ", ".join(f"version {number}: {count}" for number, count in sorted(versions.items()))


def _megabytes(process: psutil.Process) -> float:
    time.sleep(1)  # what the last request has used is freed
    return float(process.memory_info().rss) / 1e6


def _promote(number: int) -> None:
    client().set_registered_model_alias(NAME, "champion", str(number))


def _read(pictures: Path, model: Model) -> list[bytes]:
    """Return the bytes of files that the model answers: of all, or of every n-th of many."""
    paths = sorted(path for path in pictures.rglob("*") if path.is_file())
    fine = []
    for path in paths[:: -(-len(paths) // MOST_IMAGES) or 1]:
        content = path.read_bytes()
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
        example = np.zeros((1, classifier.size, classifier.size, 3), np.uint8)
        names = len(classifier.class_names)
        register_version(NAME, Path("version.keras"), run, example, names, {"verdict": "promote"})


PARTS = {"rivals": rivals, "one": one, "folder": folder, "load": load_test}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the parts asked for, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("part", nargs="*", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--model", type=Path, required=True, help="a .keras file")
    parser.add_argument("--quick", action="store_true", help="to see that it works")
    parser.add_argument("--output", type=Path, default=Path("serving.json"))
    given = parser.parse_args(arguments)
    if unknown := set(given.part) - set(PARTS):
        parser.error(f"PART must be some of {', '.join(PARTS)}. Received: {min(unknown)}")
    start_quietly()
    size = QUICK if given.quick else WHOLE
    file, output = given.model.resolve(), given.output.resolve()
    model = load(file)
    images = _read(given.images.resolve(), model)
    written = {}
    with ExitStack() as stack:
        stack.enter_context(chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        _register(file)
        for name in given.part or PARTS:
            begun = time.monotonic()
            result = PARTS[name](model, images, size)
            seconds = time.monotonic() - begun
            print(f"\n## {name}: {len(images)} images, {model.classifier.size} pixels\n")
            result.print()
            print(f"({seconds:.0f} s)", flush=True)
            written[name] = {**vars(result), "seconds": seconds}
            output.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
