"""python -m tests.benchmarks.data [PART …]: what the first four stages cost, and what they find.

Parts, all of them without arguments: `speed` (ingest against CleanVision and bare decoding),
`again` (a second ingest), `copies` (planted duplicates), `curve` (1,000 to 100,000 images). Needs
the datasets in ../shared; everything is written into a temporary folder.
"""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.images.decoder import decode
from components.images.png_writer import encode_png
from components.parallel import in_threads
from components.params.reader import Params, read_params
from tests.benchmarks.timing import median_s
from tests.cards import DIGITS

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "datasets"
CURVE = (1_000, 10_000, 100_000)
STAGES = ("ingest", "validate", "split", "prepare")


def main() -> None:
    """Print the figures of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all if left out")
    parts = parser.parse_args().part or list(PARTS)
    if not SHARED.is_dir():
        sys.exit(f"needs the datasets in ../shared. Received: {SHARED} is not there")
    for name in parts:
        print(f"== {name}", flush=True)
        with workspace() as folder:
            PARTS[name](folder, read_params(Path("params.yaml")))


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder with params.yaml, as the current folder."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        shutil.copy(DIGITS, Path(name) / "params.yaml")
        yield Path(name)


def speed(folder: Path, params: Params) -> None:
    """Ingest, with all facts, against CleanVision and decoding alone: TrashNet, four times over."""
    for number in range(4):
        for label in (SHARED / "trashnet").iterdir():
            shutil.copytree(label, folder / f"data/raw/{label.name}/{number}")
    files = sorted(folder.glob("data/raw/*/*/*.jpg"))
    peers: dict[str, Callable[[], object]] = {
        "decoding alone, Pillow": lambda: each(files, with_pillow),
        "decoding alone, ours": lambda: each(
            files, lambda f: decode(f.read_bytes(), params.ingest.decode)
        ),
        "ingest": lambda: ingest(folder),
        "CleanVision": lambda: with_cleanvision(folder / "data/raw"),
    }
    rates = {
        name: len(files) / median_s(function, 1 if name == "CleanVision" else 3)
        for name, function in peers.items()
    }
    for name, rate in rates.items():
        print(f"{name:24} {rate:7.0f} images/s, ingest is {rates['ingest'] / rate:.2f} times that")


def ingest(folder: Path) -> None:
    """Run the stage as on the first day, without what earlier runs remember."""
    from pipelines.ingest import run

    shutil.rmtree(folder / ".fovea", ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        run(read_params(Path("params.yaml")).ingest)


def each(files: list[Path], function: Callable[[Path], object]) -> None:
    """Work through files on all cores, as ingest does."""
    for _ in in_threads(function, files):
        pass


def with_pillow(file: Path) -> None:
    from PIL import Image

    np.asarray(Image.open(file).convert("RGB"))


def with_cleanvision(folder: Path) -> None:
    """All of CleanVision's checks, on all cores."""
    from cleanvision import Imagelab

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        Imagelab(data_path=str(folder)).find_issues(n_jobs=os.cpu_count(), verbose=False)


def again(folder: Path, params: Params) -> None:
    """A second ingest, after 1 % new files, against the first; both beyond start-up."""
    files = fashion_mnist(folder / "spare", CURVE[-1] * 101 // 100)
    idle = start_up(files, folder)["ingest"]
    placed(files[: CURVE[-1]], folder)
    first = stage("ingest").seconds - idle
    nothing = stage("ingest").seconds - idle
    added(files[CURVE[-1] :], folder)
    second = stage("ingest").seconds - idle
    print(f"{CURVE[-1]:,} images, seconds beyond the start-up of {idle:.1f}")
    print(
        f"first {first:.1f}, again {nothing:.1f}, with 1 % new {second:.1f}: {second / first:.1%}"
    )


def copies(folder: Path, params: Params) -> None:
    """Recall and false links for copies planted among 2,000 photographs (promise D4)."""
    from tests.components.duplicates.test_links import found_and_false
    from tests.components.pictures import COPIES

    for how in COPIES:
        recall, false = found_and_false(SHARED / "trashnet", params, 2000, how)
        print(f"{how:14} recall {recall:7.2%}, false links {false:.2%}")


def curve(folder: Path, params: Params) -> None:
    """Time, beyond start-up, and peak memory of the first four stages against images."""
    files = fashion_mnist(folder / "spare", CURVE[-1])
    idle = start_up(files, folder)
    for count in CURVE:
        placed(files[:: len(files) // count], folder)
        for name in STAGES:
            used = stage(name)
            seconds = used.seconds - idle[name]
            each_us = 1e6 * seconds / count
            print(
                f"{count:7,} images {name:9} {seconds:6.1f} s beyond {idle[name]:4.1f} s to start, "
                f"{each_us:6.0f} µs an image, {used.megabytes:5.0f} MB at most",
                flush=True,
            )


@dataclass(frozen=True)
class Used:
    """What a process took: seconds of wall clock, and its peak memory."""

    seconds: float
    megabytes: float


def stage(name: str) -> Used:
    """Run a stage as DVC does, in a process of its own."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path(f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines", name]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(Path(f"{name}.log").read_text())
    return Used(time.perf_counter() - start, usage.ru_maxrss / 1024)


def start_up(files: list[Path], folder: Path) -> dict[str, float]:
    """Return the seconds that each stage takes for 400 images: what it needs to get going."""
    placed(files[:: len(files) // 400], folder)
    return {name: stage(name).seconds for name in STAGES}


def fashion_mnist(folder: Path, count: int) -> list[Path]:
    """Write so many PNG files in class folders: Fashion-MNIST, then the same mirrored."""
    arrays = np.load(SHARED / "fashion_mnist.npz")
    pixels = np.concatenate([arrays["x_train"], arrays["x_test"]])
    labels = np.concatenate([arrays["y_train"], arrays["y_test"]])
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    files = []
    for number in range(count):
        index = number % len(pixels)
        turned = pixels[index] if number < len(pixels) else pixels[index][:, ::-1]
        files.append(folder / f"{labels[index]}/{number:06}.png")
        files[-1].write_bytes(encode_png(np.ascontiguousarray(turned)))
    return files


def placed(files: list[Path], folder: Path) -> None:
    """Make data/raw of these files, by hard links, and forget what was made of another one."""
    for made in ("data", ".fovea"):
        shutil.rmtree(folder / made, ignore_errors=True)
    added(files, folder)


def added(files: list[Path], folder: Path) -> None:
    """Link files into data/raw."""
    for file in files:
        target = folder / "data/raw" / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)


PARTS = {"speed": speed, "again": again, "copies": copies, "curve": curve}


if __name__ == "__main__":
    main()
