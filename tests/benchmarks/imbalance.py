"""python -m tests.benchmarks.imbalance [PART …]: what methods against unequal classes gain.

Parts, all of them without arguments: `fashion` takes a long-tailed part of Fashion-MNIST, whose
largest class has 100 times as many images as the smallest, and measures on its 10,000 test images.
It trains the network `compact` without a method, with the loss `logit_adjusted` and with tuned
logit adjustment, and then heads with every method on the features of the first of these networks.
`trashnet` is `fovea balance` on TrashNet. Needs the datasets in ../shared.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.calibration.adjustment import fit_adjustment
from components.calibration.temperature import calibrate
from components.imbalance.comparison import SCORES, corrected_interval, measure_scores
from components.imbalance.heads import Heads
from components.imbalance.methods import METHODS, NONE, Method
from components.model.classifier import Classifier, outputs, predict
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.training.batches import steps_per_epoch
from components.training.training import train_classifier
from components.training_set.balance import plan
from components.training_set.examples import Balance, Data, Examples
from tests.cards import DIGITS, PHOTOS

SHARED = Path(__file__).parents[3] / "shared"
FACTOR = 100
LARGEST = 1_000  # images of the largest class; the smallest has 10
EPOCHS = 10
VAL = 0.15
SEEDS = (1, 2, 3)
RARE = range(5, 10)  # the five smallest classes
ADJUSTED, TUNED = Method("train.loss", "logit_adjusted"), METHODS[-1]


def main() -> None:
    """Print the figures of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all if left out")
    parts = parser.parse_args().part or list(PARTS)
    if not SHARED.is_dir():
        sys.exit(f"needs the datasets in ../shared. Received: {SHARED} is not there")
    for name in parts:
        print(f"== {name}", flush=True)
        PARTS[name]()


def fashion() -> None:
    """Print the scores of each method, and their differences to `none`."""
    whole: dict[Method, list[np.ndarray]] = {method: [] for method in (NONE, ADJUSTED, TUNED)}
    heads: dict[Method, list[np.ndarray]] = {method: [] for method in METHODS}
    for seed in SEEDS:
        data, test = long_tail(seed)
        plain = train(NONE, data, seed)
        tuned, effect = calibrate(plain, data.val, data.balance.log_priors)
        adjusted = train(ADJUSTED, data, seed)
        for method, classifier in {NONE: plain, TUNED: tuned, ADJUSTED: adjusted}.items():
            predicted = predict(classifier, test.inputs).argmax(axis=1)
            whole[method].append(measure_scores(test.labels, predicted, 10, RARE))
        for method, predicted in head_predictions(plain, data, test, seed):
            heads[method].append(measure_scores(test.labels, predicted, 10, RARE))
        print(f"seed {seed}: {effect.in_words()}; {time.process_time():.0f} s", flush=True)
    print("the whole network")
    show(whole)
    print("heads on the features of the network without a method")
    show(heads)


def head_predictions(
    plain: Classifier, data: Data, test: Examples, seed: int
) -> Iterator[tuple[Method, np.ndarray]]:
    """Yield each method with the predictions of a head for the test images."""
    parts = [
        Examples(outputs(plain.backbone, part.inputs), part.labels)
        for part in (data.train, data.val, test)
    ]
    pool = Examples(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    ends = np.cumsum([len(part) for part in parts])
    rows, val, measured = np.split(np.arange(ends[-1]), ends[:-1])
    logits = plain.model.get_layer("logits")
    kernel, bias = logits.get_weights()
    generator = np.random.default_rng(seed)
    logits.set_weights([generator.normal(0, 0.1, kernel.shape), np.zeros_like(bias)])
    section = read_params(DIGITS).train
    trainer = Heads(plain, pool, data.balance, section, steps_per_epoch(data.balance, 32))
    for method in METHODS:
        strategy = method.value if method.key == "balance.strategy" else "none"
        loss = method.value if method.key == "train.loss" else "cross_entropy"
        balance = balanced(strategy, data.train.labels).for_loss(loss)
        trainer.fit(balance, loss, rows, val, seed)
        found = trainer.logits(measured)
        if method == TUNED:
            shift = fit_adjustment(trainer.logits(val), data.val.labels, balance.log_priors).shift
            found = found + np.array(shift, np.float32)
        yield method, found.argmax(axis=1)


def show(scores: dict[Method, list[np.ndarray]]) -> None:
    """Print a Markdown table: means, and paired differences to `none` with 95 % intervals."""
    print(f"| method | {' | '.join(SCORES)} |")
    base = np.array(scores[NONE])
    for method, values in scores.items():
        cells = []
        for column, mean in enumerate(np.mean(values, axis=0)):
            gain = corrected_interval(np.array(values)[:, column] - base[:, column], 0.0)
            cells.append(f"{mean:.3f} ({gain.value:+.3f}: {gain.low:+.3f} to {gain.high:+.3f})")
        print(f"| {method.name} | {' | '.join(cells)} |")


def long_tail(seed: int) -> tuple[Data, Examples]:
    """Return a long-tailed part of Fashion-MNIST, drawn by the seed, and its test images."""
    arrays = np.load(SHARED / "datasets/fashion_mnist.npz")
    generator = np.random.default_rng(seed)
    train_rows, val_rows = [], []
    for label in range(10):
        images = round(LARGEST / FACTOR ** (label / 9))
        rows = generator.permutation(np.flatnonzero(arrays["y_train"] == label))[:images]
        val = max(1, round(VAL * images))
        val_rows.append(rows[:val])
        train_rows.append(rows[val:])

    def examples(side: str, rows: np.ndarray) -> Examples:
        pixels = np.repeat(arrays[f"x_{side}"][rows][..., np.newaxis], 3, axis=-1)
        return Examples(pixels, arrays[f"y_{side}"][rows].astype(np.int64))

    train, val = (examples("train", np.concatenate(rows)) for rows in (train_rows, val_rows))
    names = tuple("0123456789")
    balance = balanced("none", train.labels)
    data = Data(train, val, balance, names, 28, "squash", f"long tail {seed}")
    return data, examples("test", np.arange(10_000))


def balanced(strategy: str, labels: np.ndarray) -> Balance:
    names = "0123456789"
    return Balance.from_plan(plan(strategy, [names[label] for label in labels], names, 0.999))


def train(method: Method, data: Data, seed: int) -> Classifier:
    """Train `compact`, the whole network, with or without another loss."""
    card = read_params(DIGITS)
    values = {
        "train.seed": seed,
        "train.finetune.epochs": EPOCHS,
        "train.augmentation.horizontal_flip": 0.5,
        **({method.key: method.value} if method.key == "train.loss" else {}),
    }
    hyperparameters = Hyperparameters(model=card.model, train=card.train).with_overrides(values)
    with tempfile.TemporaryDirectory() as cache:
        trained = train_classifier(hyperparameters, data, None, lambda row: None, Path(cache))
    return trained.classifier


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder with the card for photographs and TrashNet, as the current folder."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        shutil.copy(PHOTOS, Path(name) / "params.yaml")
        shutil.copytree(SHARED / "datasets/trashnet", Path(name) / "data/raw")
        yield Path(name)


def trashnet() -> None:
    """Run the stages up to `balance`, then `fovea balance` with ten seeds."""
    from pipelines import balance, ingest, prepare, split, validate
    from pipelines.commands.balance import TABLE, compare_methods

    with workspace():
        params = read_params(Path("params.yaml"))
        ingest.run(params.ingest)
        validate.run(params.ingest, params.section("validate"), params.prepare)
        split.run(params.split)
        prepare.run(params.ingest, params.prepare)
        balance.run(params.balance)
        started = time.process_time(), time.monotonic()
        compare_methods(seeds=10)
        ended = time.process_time(), time.monotonic()
        print(TABLE.read_text())
        print(f"{ended[0] - started[0]:.0f} s of the processor, {ended[1] - started[1]:.0f} s")


PARTS = {"fashion": fashion, "trashnet": trashnet}


if __name__ == "__main__":
    main()
