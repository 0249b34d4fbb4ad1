"""python -m tests.benchmarks.training [PART …]: how fast images are made ready, and trained on.

Parts, all of them without arguments: `pipeline` (batches alone, by number of workers, and a bare
loop over albumentations), `policies` (batches of each named policy and of mixing, in one thread,
and the same policies by albumentations alone), `steps` (training with the pipeline against the
same steps on one batch in memory), `stand_in` (a stand-in for a GPU, which takes batches at the
rate of an H200 and trains nothing). What is compared is measured in turns, so a busy machine slows
both down. --seconds and --turns say how long and how often each rate is measured.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import albumentations as A  # noqa: N812 - the usual name of albumentations
import cv2
import numpy as np
import psutil

from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier
from components.params.augmentation import POLICY_NAMES
from components.params.model import UNUSED_HEAD, Model
from components.params.reader import read_params
from components.params.train import Train
from components.training.augmentation import build_augmentation
from components.training.batches import Batch, Stream
from components.training.blocks import freeze
from components.training.feeding import SLOTS, Feed
from components.training.losses import build_loss
from components.training.mixing import Mixing
from components.training.optimizers import build_optimizer
from components.training.phases import Phase
from components.training.precision import trained_in
from components.training.transforms import build_transforms
from components.training_set.examples import Balance, Examples
from components.worker_processes import cores
from tests.cards import DIGITS, PHOTOS

Clock = Callable[[], float]
IMAGES = {28: 20_000, 224: 600}  # side → number of images in the file
# Images per second that an H200 trains on a batch in its memory: `compact` 1.0, MobileNetV2 1.0.
H200 = {28: 98_100, 224: 6_940}


@dataclass(frozen=True)
class Case:
    """A network, the side of its images, its batch and the precision of its training."""

    name: str
    card: Path
    backbone: str
    width: float
    side: int
    batch: int
    precision: Literal["float32", "mixed"] = "float32"


@dataclass(frozen=True)
class Turns:
    """How often, and for how long, a rate is measured."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    """rate: steps per second. cpu_s: the time of the processors for a step, in seconds."""

    rate: float
    cpu_s: float


CASES = (
    Case("compact at 28", DIGITS, "compact", 1.0, 28, 256),
    Case("mobilenet_v2 0.35 at 224", PHOTOS, "mobilenet_v2", 0.35, 224, 32),
)


def main() -> None:
    """Print the figures of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all if left out")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    parser.add_argument("--side", type=int, choices=[case.side for case in CASES], help="one case")
    parser.add_argument("--turns", type=int, default=5, help="of each rate; the median counts")
    parser.add_argument("--width", type=float, help="of all networks, such as 1.0 on a GPU")
    parser.add_argument("--batch", type=int, help="images in a batch, in all cases")
    parser.add_argument("--precision", choices=["float32", "mixed"], default="float32")
    parser.add_argument("--workers", type=int, nargs="*", help="numbers of workers to compare")
    given = parser.parse_args()
    workers = given.workers or sorted({0, 1, 2, cores(), max(0, cores() - 2)})
    turns = Turns(given.turns, given.seconds)
    print(f"{cores()} cores, load {load()}, {turns.number} turns of {turns.seconds:g} s")
    with tempfile.TemporaryDirectory() as folder:
        for part in given.part or PARTS:
            print(f"== {part}", flush=True)
            for case in cases(given):
                stream = stream_of(case, Path(folder))
                PARTS[part](case, stream, workers, turns)
    print(f"load at the end {load()}")


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """The cases asked for, with what the options change."""
    for case in CASES:
        if given.side in (None, case.side):
            width, batch = given.width or case.width, given.batch or case.batch
            name = f"{case.backbone} {width:g} at {case.side}, {given.precision}, batch {batch}"
            yield replace(case, name=name, width=width, batch=batch, precision=given.precision)


def load() -> str:
    """The load of the machine, which slows down all that is measured."""
    return f"{os.getloadavg()[0]:.1f}"


def stream_of(case: Case, folder: Path) -> Stream:
    """A stream of smooth pictures in a file, changed as the card of `fovea init` says."""
    path, count, generator = (
        folder / f"{case.side}.npy",
        IMAGES[case.side],
        np.random.default_rng(1),
    )
    if not path.is_file():
        coarse = generator.integers(0, 256, (count, 6, 6, 3), np.uint8)
        sides = (case.side, case.side)
        images = [cv2.resize(c, sides, interpolation=cv2.INTER_CUBIC) for c in coarse]
        np.save(path, np.stack(images))
    labels = generator.integers(0, 10, count)
    balance = Balance(
        np.bincount(labels, minlength=10), np.ones(10, np.float32), np.zeros(10, np.float32)
    )
    examples = Examples(np.load(path, mmap_mode="r"), labels)
    train = read_params(case.card).train
    return Stream(examples, balance, case.batch, 1, build_augmentation(train.augmentation))


def pipeline(case: Case, stream: Stream, workers: list[int], turns: Turns) -> None:
    """Images per second of the pipeline alone, and of albumentations image by image."""
    compose = A.Compose(build_transforms(read_params(case.card).train.augmentation))
    images = stream.batch(0)[0]

    with ExitStack() as stack:
        peers: dict[str, Callable[[float], int]] = {
            "albumentations, image by image": partial(loop, compose, images, time.perf_counter)
        }
        for count in workers:
            feed = stack.enter_context(Feed(stream, count))
            name = f"{count} workers" if count else "a thread"
            peers[name] = partial(take, iter(feed), case.batch, SLOTS * max(1, count))
        rates = in_turns(peers, turns)
    for name, rate in rates.items():
        print(f"{case.name:46} {name:32} {rate:8.0f} images/s")


def stand_in(case: Case, stream: Stream, workers: list[int], turns: Turns) -> None:
    """The share of its time for which a device would train that takes batches at a fixed rate."""
    step_s = case.batch / H200[case.side]
    for count in workers:
        shares = []
        with Feed(stream, count) as feed:
            batches = iter(feed)
            take(batches, case.batch, SLOTS * max(1, count), 0.0)
            for _ in range(turns.number):
                begun, trained_s = time.perf_counter(), 0.0
                while time.perf_counter() < begun + turns.seconds:
                    next(batches)
                    time.sleep(step_s)
                    trained_s += step_s
                shares.append(trained_s / (time.perf_counter() - begun))
        name = f"{count} workers" if count else "a thread"
        print(
            f"{case.side} pixels at {H200[case.side]} images/s {name:20} "
            f"{100 * statistics.median(shares):5.1f} % of the rate",
            flush=True,
        )


def policies(case: Case, stream: Stream, workers: list[int], turns: Turns) -> None:
    """Images per second of each named policy, and of MixUp and CutMix alone.

    The seconds are those of the processor, in one thread, so another load changes little.
    """
    cv2.setNumThreads(0)
    bare = replace(stream, policy=None)
    streams = {name: replace(stream, policy=build_augmentation(name)) for name in POLICY_NAMES} | {
        "mixup": replace(bare, mixing=Mixing(0.2, 0.0, 10**9, 10)),
        "cutmix": replace(bare, mixing=Mixing(0.0, 1.0, 10**9, 10)),
    }
    clock = time.process_time
    readers = {name: partial(read, each, clock) for name, each in streams.items()}
    rates = in_turns(readers, turns, clock)
    images = stream.batch(0)[0]
    peers = {
        name: partial(loop, _resized(name, case.side), images, clock) for name in POLICY_NAMES[1:]
    }
    alone = in_turns(peers, turns, clock)
    cv2.setNumThreads(-1)  # as many as there are cores
    for name, rate in rates.items():
        peer = f"; albumentations alone {alone[name]:6.0f}" if name in alone else ""
        print(f"{case.name:46} {name:16} {rate:8.0f} images/s{peer}")


def _resized(name: str, side: int) -> Any:
    """The transforms of a policy, whose crops have the size of the images."""
    transforms = build_transforms(name)
    for transform in transforms:
        if isinstance(transform, A.RandomResizedCrop):
            transform.size = (side, side)
    return A.Compose(transforms)


def loop(compose: Any, images: Any, clock: Clock, until: float) -> int:
    """Change images one by one until a time, and return their number."""
    done = 0
    while clock() < until:
        for image in images[:16]:
            compose(image=image)
        done += 16
    return done


def read(stream: Stream, clock: Clock, until: float) -> int:
    """Compute batches until a time, and return the number of images."""
    done = 0
    while clock() < until:
        stream.batch(done)
        done += 1
    return done * stream.batch_size


def take(iterator: Iterator[Batch], batch: int, least: int, until: float) -> int:
    """Take batches until a time, but at least `least`, and return the number of images."""
    taken = 0
    while taken < least or time.perf_counter() < until:
        next(iterator)
        taken += 1
    return taken * batch


def in_turns(
    peers: dict[str, Callable[[float], int]], turns: Turns, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Return the median rate of each function; a function takes the time at which it must end."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(turns.number):
        for name, function in peers.items():
            function(0.0)  # uses up what was made ready while others were measured
            begun = clock()
            done = function(begun + turns.seconds)
            found[name].append(done / (clock() - begun))
    return {name: statistics.median(rates) for name, rates in found.items()}


def steps(case: Case, stream: Stream, workers: list[int], turns: Turns) -> None:
    """Training steps with the pipeline, as a share of the same steps on one batch in memory.

    The time of the processors is shown, too: another load of the machine changes it little. On all
    cores that are busy with training, the rate can be no better than this time allows.
    """
    load_keras()
    card = Model(
        backbone=case.backbone, width=case.width, weights="none", **(UNUSED_HEAD | {"dropout": 0.2})
    )
    names = [f"class {number}" for number in range(10)]
    classifier = build_classifier(card, names, case.side, "squash")
    with trained_in(case.precision, classifier):
        compare(case, classifier, stream, workers, turns)


def compare(
    case: Case, classifier: Classifier, stream: Stream, workers: list[int], turns: Turns
) -> None:
    """Print the speed of each way to get batches."""
    model = compiled(classifier, read_params(case.card).train)
    kept = stream.batch(0)
    train_steps(model, same(kept), 3)
    count = max(4, round(turns.seconds * train_steps(model, same(kept), 6).rate))
    found: dict[str, list[Speed]] = {}
    for _ in range(turns.number):
        speeds = found.setdefault("one batch in memory", [])
        speeds.append(train_steps(model, same(kept), count))
        for number in workers:
            with Feed(stream, number) as feed:
                speeds = found.setdefault(f"{number} workers" if number else "a thread", [])
                speeds.append(train_steps(model, iter(feed), count))
    resident = found["one batch in memory"]
    for name, speeds in found.items():
        # The share is that of each turn, because the load changes from turn to turn.
        pairs = list(zip(speeds, resident, strict=True))
        images = statistics.median(speed.rate for speed in speeds) * case.batch
        share = 100 * statistics.median(ours.rate / best.rate for ours, best in pairs)
        cpu_ms = 1000 * statistics.median(speed.cpu_s for speed in speeds) / case.batch
        cost = 100 * statistics.median(ours.cpu_s / best.cpu_s - 1 for ours, best in pairs)
        print(
            f"{case.name:46} {name:20} {images:8.0f} images/s {share:6.1f} %   "
            f"{cpu_ms:6.3f} ms of a core for an image, {cost:+.0f} %",
            flush=True,
        )


def compiled(classifier: Classifier, train: Train) -> Any:
    """The network of a classifier, compiled as for the phase `finetune`."""
    freeze(classifier.backbone, train.finetune.unfreeze, hold_normalization=False)
    model = classifier.logits_model
    none: Any = None  # the examples, which a compiled network does not need
    phase = Phase("finetune", model, none, none, 100, 1e-4, 0.0, None, False)
    even = np.zeros(10, np.float32)
    loss = build_loss(train, Balance(np.ones(10, np.int64), even + 1, even))
    model.compile(build_optimizer(phase, train, 100), loss, metrics=["accuracy"])
    return model


def same(batch: Batch) -> Iterator[Batch]:
    """One batch again and again, as a generator, which is what Keras takes."""
    while True:
        yield batch


def train_steps(model: Any, batches: Iterator[Batch], count: int) -> Speed:
    """Train `count` steps, and two before, and return the speed of the `count`."""
    import keras

    times: list[tuple[float, float]] = []
    process = psutil.Process()

    def stamp(batch: int, logs: Any) -> None:
        if batch in (1, count + 1):
            float(logs["loss"])  # waits until the device has done the step
            family = [process, *process.children(recursive=True)]
            used = sum(sum(one.cpu_times()[:2]) for one in family)
            times.append((time.perf_counter(), used))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stamp)
    model.fit(batches, steps_per_epoch=count + 2, shuffle=False, callbacks=[callback], verbose=0)
    (begun, used_before), (ended, used_after) = times
    return Speed(count / (ended - begun), (used_after - used_before) / count)


PARTS = {"pipeline": pipeline, "policies": policies, "steps": steps, "stand_in": stand_in}


if __name__ == "__main__":
    main()
