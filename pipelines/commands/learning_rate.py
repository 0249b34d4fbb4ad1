"""prepared train split, hyperparameters → a picture of the loss at each learning rate, and a line.

Nothing that a stage writes is changed. The picture is below `.fovea`. Features of images that are
computed here are stored as always, so `train` need not compute them again.
"""

import logging
import os
import time
from pathlib import Path

from components.learning_rate.picture import decimal, draw_rates
from components.learning_rate.range_test import Name, RateCurve, find_rate
from components.model import devices
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from components.registry.weights import resolve_weights
from components.training.transforms import check_augmentation
from pipelines import artifacts
from pipelines.commands.console import show_lines
from pipelines.formats import read_tree, write_text
from pipelines.training_data import read_training_data
from pipelines.workspace.prepared import check_prepared

log = logging.getLogger(__name__)


def find_learning_rate(name: Name) -> None:
    """Measure the loss at each learning rate of a phase, draw it, and print what to type.

    name: the name of the phase. One device is used.
    Raises UserError if a transform cannot be used, if the stage `prepare` or `balance` has not run
    with these params, if weights are missing, or if the training has no such phase.
    """
    begun_s = time.monotonic()
    params = read_params(Path("params.yaml"))
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    if artifacts.HYPERPARAMETERS.is_file():
        hyperparameters = hyperparameters.with_overrides(read_tree(artifacts.HYPERPARAMETERS))
    check_augmentation(hyperparameters.train.augmentation, params.prepare.size)
    check_prepared()
    data = read_training_data()
    weights = resolve_weights(hyperparameters.model)
    os.environ.pop(devices.VARIABLE, None)
    curve = find_rate(hyperparameters, data, weights, artifacts.STATE / "features", name)
    present = hyperparameters.value(f"train.{name}.learning_rate")
    picture = artifacts.STATE / "learning_rate" / f"{name}.svg"
    write_text(picture, draw_rates(curve, present))
    _show(curve, present)
    log.info(f"{picture} shows the loss at each rate; took {time.monotonic() - begun_s:.0f} s")
    show_lines(f"dvc exp run -S train.{name}.learning_rate={decimal(curve)}")


def _show(curve: RateCurve, present: float) -> None:
    rate, loss = curve.rates[curve.best], curve.smoothed[curve.best]
    show_lines(
        f"phase {curve.phase}: {len(curve.rates)} batches, the learning rate rises from "
        f"{curve.rates[0]:.0e} to {curve.rates[-1]:.0e}"
    )
    known = f"{decimal(curve)} (params.yaml: {present:g})"
    if curve.falls:
        show_lines(
            f"the loss is {curve.start:.3f} at the lowest rates, and lowest up to the rate "
            f"{rate:.1e}: {loss:.3f}",
            f"a tenth of this rate is a good highest rate: {known}",
        )
    else:
        show_lines(
            f"no rate lowers the loss ({curve.start:.3f}) by more than its noise, so this test "
            f"cannot tell which rate is best; it shows only that above {rate:.1e} the loss is "
            "surely higher than at the lowest rates",
            f"compare this rate with yours on val before you keep it: {known}",
        )
