"""python -m tests.benchmarks.search.peers NAME EPOCHS TRIALS: the search of a peer.

It runs in the folder of a workspace. Each trial trains the frozen backbone and its head from the
images, which are prepared and in memory. A trial has the network, the space and the metric of ours.
Each epoch is written at once into PEER, so the process may be ended at any moment.

- `optuna`: as Optuna's example for Keras with a pruner does it, with TPE and the median rule. The
  first trial has the values of params.yaml, as ours.
- `kerastuner`: KerasTuner's Hyperband, with its defaults.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from components.errors import UserError
from components.model.backend import PREDICTION_BATCH
from components.model.head import add_head
from components.params.hyperparameters import Hyperparameters
from components.params.model import Model
from components.params.reader import Params, read_params
from components.params.search import Choices
from components.registry.weights import resolve_weights
from components.search.space import start_points, suggest
from components.training.measuring import macro_f1
from components.training_set.examples import Data
from pipelines.training_data import read_training_data
from tests.benchmarks.search.searches import run_process

PEER = Path("peer.jsonl")
METRIC = "val_macro_f1"

OnEpoch = Callable[[int, float], None]


def run_peer(name: str, epochs: int, trials: int, budget_s: float) -> list[list[float]]:
    """Run a peer as a process in this folder, and return [seconds, best value, trials finished].

    There is a row for each epoch and for the end of each trial. The seconds begin when the process
    starts, as for our search. epochs: of a trial. trials: at most so many.
    """
    begun = time.time()
    arguments = ["-m", "tests.benchmarks.search.peers", name, str(epochs), str(trials)]
    run_process(arguments, lambda process: None, budget_s)
    text = PEER.read_text() if PEER.exists() else ""
    lines = text.rpartition("\n")[0].splitlines()  # the end may have cut the last line
    events, best = [], 0.0
    for line in map(json.loads, lines):
        best = max(best, round(line["value"], 6))
        events.append([round(line["time"] - begun, 3), best, line["trials"]])
    return events


def check_peer(name: str) -> None:
    """Raise UserError if a package of a peer is missing."""
    needed = ("keras_tuner", "tensorboard") if name == "kerastuner" else ()
    missing = [module for module in needed if find_spec(module) is None]
    if missing:
        raise UserError(
            "kerastuner: KerasTuner is missing, because only this part needs it; install it with "
            "`pip install --no-deps keras-tuner kt-legacy tensorboard`, which changes no other "
            f"package. Received: no module {', '.join(missing)}"
        )


def main() -> None:
    """Search until the trials are over, or until this process is ended."""
    name, epochs, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params = read_params(Path("params.yaml"))
    with PEER.open("a") as file:
        trainer = Trainer(params, read_training_data(), epochs, Diary(file))
        PEERS[name](params, trainer, trials)


class Diary:
    """A file with a JSON object in each line: when which value was reached."""

    def __init__(self, file: Any) -> None:
        self._file, self._trials = file, 0

    def write(self, value: float, over: bool = False) -> None:
        """Write a value. over: whether its trial has finished."""
        self._trials += over
        line = {"time": time.time(), "value": value, "trials": self._trials}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Trainer:
    """Trains heads from images, as a user of Keras does it."""

    def __init__(self, params: Params, data: Data, epochs: int, diary: Diary) -> None:
        import keras
        import tensorflow as tf

        self.written = Hyperparameters(model=params.model, train=params.train)
        self._weights = resolve_weights(params.model)
        self._data, self.epochs, self.diary = data, epochs, diary
        targets = keras.utils.to_categorical(data.train.labels, len(data.class_names))
        pairs = tf.data.Dataset.from_tensor_slices((np.asarray(data.train.inputs), targets))
        self._val = np.asarray(data.val.inputs)
        self._examples = pairs.shuffle(len(targets), seed=params.train.seed)

    def build(self, hyperparameters: Hyperparameters) -> Any:
        """Return a compiled network whose backbone is frozen."""
        import keras

        train, classes = hyperparameters.train, len(self._data.class_names)
        keras.utils.set_random_seed(train.seed)
        pixels = keras.Input((self._data.size, self._data.size, 3), dtype="uint8")
        features = self._frozen_features(pixels, hyperparameters.model)
        network = keras.Model(pixels, add_head(features, hyperparameters.model, classes))
        network.compile(
            keras.optimizers.AdamW(train.head.learning_rate, weight_decay=train.weight_decay),
            keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=train.label_smoothing
            ),
        )
        return network

    def _frozen_features(self, pixels: Any, model: Model) -> Any:
        """Return the output of the frozen backbone, as in Keras' guide to transfer learning."""
        import keras

        if self._weights:  # with --quick
            backbone = keras.models.load_model(self._weights).get_layer("backbone")
        else:
            pixels = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
            backbone = keras.applications.MobileNetV2(
                input_shape=pixels.shape[1:],
                alpha=model.width,
                include_top=False,
                weights="imagenet",
                pooling="avg",
            )
        backbone.trainable = False
        return backbone(pixels, training=False)

    def fit(self, network: Any, batch_size: int, on_epoch: OnEpoch, **more: Any) -> Any:
        """Train a network. on_epoch: is called after each epoch with its number and macro F1."""
        import tensorflow as tf

        batches = self._examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)
        after = self._after_epoch(network, on_epoch)
        options = {"epochs": self.epochs, "verbose": 0, "shuffle": False, **more}
        options["callbacks"] = [after, *options.get("callbacks", ())]
        return network.fit(batches, **options)

    def _after_epoch(self, network: Any, on_epoch: OnEpoch) -> Any:
        """Return a callback that adds METRIC to what other callbacks see of an epoch."""
        import keras

        def measure(epoch: int, logs: dict[str, float]) -> None:
            logits = network.predict(self._val, batch_size=PREDICTION_BATCH, verbose=0)
            logs[METRIC] = macro_f1(self._data.val.labels, logits.argmax(axis=1))
            self.diary.write(logs[METRIC])
            on_epoch(epoch, logs[METRIC])

        return keras.callbacks.LambdaCallback(on_epoch_end=measure)


def optuna_search(params: Params, trainer: Trainer, trials: int) -> None:
    """Search with TPE and the median rule, both with Optuna's defaults."""
    import keras
    import optuna

    def objective(trial: Any) -> float:
        keras.backend.clear_session()
        overrides = suggest(trial, params.search.space, trainer.written)
        hyperparameters = trainer.written.with_overrides(overrides)
        values: list[float] = []

        def on_epoch(epoch: int, value: float) -> None:
            values.append(value)
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            network = trainer.build(hyperparameters)
            trainer.fit(network, hyperparameters.train.batch_size, on_epoch)
        finally:
            trainer.diary.write(max(values, default=0.0), over=True)
        return max(values)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=params.train.seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.enqueue_trial(start_points(params.search, trainer.written)[0])
    study.optimize(objective, n_trials=trials)


def kerastuner_search(params: Params, trainer: Trainer, trials: int) -> None:
    """Search with Hyperband, again and again, until the trials are over."""
    import keras_tuner

    class Heads(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            return trainer.build(_chosen(hp, params, trainer.written))

        def fit(self, hp: Any, network: Any, **more: Any) -> Any:
            batch_size = _chosen(hp, params, trainer.written).train.batch_size
            history = trainer.fit(network, batch_size, lambda epoch, value: None, **more)
            trainer.diary.write(max(history.history[METRIC]), over=True)
            return history

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Hyperband(
            Heads(),
            keras_tuner.Objective(METRIC, "max"),
            max_epochs=trainer.epochs,
            hyperband_iterations=trials,
            seed=params.train.seed,
            directory=folder,
        )
        tuner.oracle.max_trials = trials
        tuner.search(verbose=0)


def _chosen(hp: Any, params: Params, written: Hyperparameters) -> Hyperparameters:
    """Return the hyperparameters that KerasTuner has chosen from our space."""
    overrides: Mapping[str, Any] = {
        name: hp.Choice(name, list(values.choices))
        if isinstance(values, Choices)
        else hp.Float(name, values.low, values.high, sampling="log" if values.log else "linear")
        for name, values in params.search.space.items()
    }
    return written.with_overrides(overrides)


PEERS = {"optuna": optuna_search, "kerastuner": kerastuner_search}


if __name__ == "__main__":
    main()
