"""Params and a folder with prepared splits → probabilities of test, and what they cost.

Three ways to train: ours, as the stage `train` does it; a logistic regression on the features of
the frozen backbone; plain Keras. All have the same splits, and test is used only at the end.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from components.calibration.outputs import fit_outputs
from components.calibration.temperature import softmax
from components.model.backend import load_keras
from components.model.classifier import build_classifier, leaf_layers, outputs, predict
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from components.training.training import train_classifier
from components.training_set.examples import Data, Examples
from components.training_set.pixels import read_images
from pipelines import artifacts, balance
from pipelines.formats import read_table
from pipelines.training_data import read_training_data

CS = 10.0 ** np.arange(-4, 2)  # of the logistic regression
FROZEN_EPOCHS, FROZEN_RATE = 8, 1e-3  # Keras' guide to transfer learning, with its default rate
RATES = (3e-4, 1e-4, 3e-5)  # of plain Keras when it fine-tunes

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """What a training gives.

    probabilities: of the images of test, float32 [N, C]. cpu_s, wall_s: the seconds of all
    processors, and by the clock, from the splits to the trained classifier. facts: other numbers.
    """

    probabilities: Floats
    cpu_s: float
    wall_s: float
    facts: dict[str, Any] = field(default_factory=dict)


class Stopwatch:
    """The seconds of the processors, with those of processes that have ended, and by the clock."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = sum(os.times()[:4]), time.perf_counter()

    @property
    def cpu_s(self) -> float:
        return sum(os.times()[:4]) - self._cpu_s

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._wall_s


def read_data(params: Params) -> Data:
    """Return train and val of the current folder, with the balance plan of the params."""
    load_keras(params.train.threads)
    balance.run(params.balance)
    return read_training_data()


def read_test() -> Examples:
    """Return test of the current folder."""
    labels = read_table(artifacts.rows("test"))["label_index"].to_numpy(np.int64)
    return Examples(read_images(artifacts.images("test")), labels)


def fit_ours(params: Params) -> Fit:
    """Train and calibrate as the stage `train` does, with an empty store of features."""
    data = read_data(params)
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    with tempfile.TemporaryDirectory() as features:
        spent = Stopwatch()
        trained = train_classifier(hyperparameters, data, None, lambda row: None, Path(features))
        classifier, effect = fit_outputs(trained.classifier, hyperparameters, data)
        cpu_s, wall_s = spent.cpu_s, spent.wall_s
    images, spent = read_test().inputs, Stopwatch()
    probabilities = predict(classifier, images)
    facts = {
        "parameters": classifier.model.count_params(),
        "epochs": len(trained.history),
        "best_epoch": f"{trained.best['phase']} {trained.best['epoch']}",
        "val_macro_f1": trained.best["val_macro_f1"],
        "val_nll": effect.after.scores["nll"],
        "temperature": effect.temperature,
        "predict_cpu_ms": round(1000 * spent.cpu_s / len(images), 3),
    }
    return Fit(probabilities, cpu_s, wall_s, facts)


def fit_logistic(params: Params) -> Fit:
    """Fit scikit-learn's logistic regression on features; val chooses C by macro F1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = read_data(params)
    spent = Stopwatch()
    network = build_classifier(params.model, data.class_names, data.size, data.resize).backbone
    train, val = outputs(network, data.train.inputs), outputs(network, data.val.inputs)
    best: tuple[float, float, Any] = (-1.0, 0.0, None)
    for c in CS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5_000))
        model.fit(train, data.train.labels)
        score = macro_f1(data.val.labels, model.predict(val))
        best = max(best, (score, c, model), key=lambda found: found[0])
    cpu_s, wall_s = spent.cpu_s, spent.wall_s
    test = outputs(network, read_test().inputs)
    probabilities = best[2].predict_proba(test).astype(np.float32)
    return Fit(probabilities, cpu_s, wall_s, {"c": float(best[1])})


def fit_keras(params: Params, budget_s: float) -> Fit:
    """Train as Keras' guide to transfer learning, but with BatchNorm frozen all the time.

    First a new layer on the frozen backbone, then everything but BatchNorm, with each of RATES.
    Each of them, together with the frozen epochs, has `budget_s` seconds of the processors, and at
    least one epoch. Of all epochs, the one with the best macro F1 on val counts. cpu_s and wall_s
    are those of the frozen epochs and of one rate; `tried_cpu_s` are those of all.
    """
    import keras

    data = read_data(params)
    keras.backend.clear_session()
    keras.utils.set_random_seed(params.train.seed)
    whole = Stopwatch()
    network, backbone = _plain_network(params, data)
    best = _Best(network, data.val)
    backbone.trainable = False
    _compile(network, FROZEN_RATE)
    _train(network, data, params.train.batch_size, best, lambda epoch: epoch < FROZEN_EPOCHS)
    frozen, start = (whole.cpu_s, whole.wall_s), network.get_weights()
    costs = {}
    backbone.trainable = True
    for layer in leaf_layers(backbone):
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    for rate in RATES:
        network.set_weights(start)
        _compile(network, rate)
        spent, best.rate = Stopwatch(), rate
        _train(
            network,
            data,
            params.train.batch_size,
            best,
            lambda epoch, spent=spent: not epoch or frozen[0] + spent.cpu_s < budget_s,
        )
        costs[rate] = (frozen[0] + spent.cpu_s, frozen[1] + spent.wall_s)
    tried_cpu_s = whole.cpu_s
    network.set_weights(best.weights)
    probabilities = softmax(outputs(network, read_test().inputs)).astype(np.float32)
    facts = {"tried_cpu_s": tried_cpu_s, "rate": best.rate_of_best, "best_epoch": best.epoch}
    return Fit(probabilities, *costs[best.rate_of_best or RATES[0]], facts)


class _Best:
    """The weights with the best macro F1 on val until now."""

    def __init__(self, network: Any, val: Examples) -> None:
        self._network, self._val, self._score = network, val, -1.0
        self.rate: float | None = None  # None: the backbone is frozen
        self.rate_of_best: float | None = None
        self.weights: list[Any] = []
        self.epoch = ""

    def update(self, epoch: int) -> None:
        predicted = outputs(self._network, self._val.inputs).argmax(axis=1)
        score = macro_f1(self._val.labels, predicted)
        if score > self._score:
            self._score, self.rate_of_best = score, self.rate
            self.weights = self._network.get_weights()
            self.epoch = f"{'frozen' if self.rate is None else 'finetune'} {epoch + 1}"


def _plain_network(params: Params, data: Data) -> tuple[Any, Any]:
    """Return a network from pixels to logits, with the guide's random flips, and its backbone."""
    import keras

    classifier = build_classifier(params.model, data.class_names, data.size, data.resize)
    pixels = keras.Input((data.size, data.size, 3), dtype="uint8")
    changed = keras.layers.RandomFlip("horizontal")(pixels)
    changed = keras.layers.RandomRotation(10 / 360, fill_mode="nearest")(changed)
    hidden = keras.layers.Dropout(0.2)(classifier.backbone(changed))
    logits = keras.layers.Dense(len(data.class_names))(hidden)
    return keras.Model(pixels, logits), classifier.backbone


def _compile(network: Any, rate: float) -> None:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(rate), loss)


def _train(
    network: Any, data: Data, batch_size: int, best: _Best, goes_on: Callable[[int], bool]
) -> None:
    """Train epochs, numbered from 0, as long as `goes_on` says."""
    images, epoch = np.asarray(data.train.inputs), 0
    while goes_on(epoch):
        network.fit(images, data.train.labels, batch_size=batch_size, verbose=0)
        best.update(epoch)
        epoch += 1


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes."""
    return float(f1_score(labels, predicted, average="macro", zero_division=0))
