"""python -m tests.benchmarks.imbalance [PART …]: what methods against unequal classes gain.

Parts, all of them without arguments: `fashion` trains the network `compact` on long-tailed
Fashion-MNIST, whose largest class has 100 times as many images as the smallest, and measures on its
10,000 test images. `trashnet` is `fovea balance` on TrashNet. Needs the datasets in ../shared.
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

from components.calibration.temperature import calibrate
from components.imbalance.comparison import SCORES, corrected_interval, measure_scores
from components.imbalance.methods import METHODS, NONE, TUNED_KEY, Method
from components.model.classifier import Classifier, predict
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.training.training import train_classifier
from components.training_set.balance import plan
from components.training_set.examples import Balance, Data, Examples
from tests.cards import DIGITS, PHOTOS

SHARED = Path(__file__).parents[3] / "shared"
FACTOR = 100
LARGEST = 2_000  # images of the largest class in train; the smallest has 20
EPOCHS = 12  # of `none`; every method gets as many updates
VAL = 0.15
SEEDS = (1, 2, 3)
# Without the phase `head`, `smote` is the same as `oversample`.
COMPARED = (
    *(method for method in METHODS if method.value != "smote"),
    Method("balance.strategy", "augment_minority"),
)


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
    scores: dict[Method, list[np.ndarray]] = {method: [] for method in COMPARED}
    for seed in SEEDS:
        data, test = long_tail(seed)
        started = time.process_time()
        plain: Classifier | None = None
        for method in COMPARED:
            if method.key == TUNED_KEY:
                assert plain is not None
                classifier, effect = calibrate(plain, data.val, data.balance.log_priors)
                print(effect.in_words())
            else:
                classifier = train(method, data, seed)
            plain = classifier if method == NONE else plain
            predicted = predict(classifier, test.inputs).argmax(axis=1)
            scores[method].append(measure_scores(test.labels, predicted, 10, range(5, 10)))
            seconds = time.process_time() - started
            print(f"{seed} {method.name:26} {scores[method][-1].round(3)} {seconds:.0f} s")
            sys.stdout.flush()
    show(scores)


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
    """Train `compact` with one method, for as many updates as `none` has."""
    card = read_params(DIGITS)
    strategy = method.value if method.key == "balance.strategy" else "none"
    balance = balanced(strategy, data.train.labels)
    epochs = round(EPOCHS * data.balance.epoch_size / balance.epoch_size)
    values = {
        "train.seed": seed,
        "train.finetune.epochs": max(1, epochs),
        "train.early_stopping.patience": max(1, epochs),
        "train.augmentation.horizontal_flip": 0.5,
        **({method.key: method.value} if method.key == "train.loss" else {}),
    }
    hyperparameters = Hyperparameters(model=card.model, train=card.train).with_overrides(values)
    data = Data(**{**vars(data), "balance": balance})
    with contextlib.redirect_stderr(None), tempfile.TemporaryDirectory() as cache:
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
