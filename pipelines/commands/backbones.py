"""The list of backbones → a table: parameters, multiply-adds and sizes, and their speed here.

The numbers that do not depend on the machine are in backbones.csv. After a change of the list, run
`python -m pipelines.commands.backbones` to write this file again.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.errors import UserError
from components.model.applications import APPLICATIONS
from components.model.backbones import COMPACT_MIN_SIZE, build_backbone
from components.params.model import UNUSED_HEAD, Model
from components.params.sentences import nearest
from components.progress import track
from pipelines.commands.console import show_lines, show_table
from pipelines.commands.layers import layers_of

FACTS = Path(__file__).with_name("backbones.csv")
SIZE = 224  # pixels; the size for which the multiply-adds are listed and the speed is measured
BATCH = 16  # images
MEASURED_S = 2.0  # after the first batch, which includes the compilation


def show_backbones(names: Sequence[str], *, measured: bool) -> None:
    """Print the backbones that `model.backbone` can be, with a line for each listed width.

    names: the backbones to print; empty for all. measured: also measure how many images a second
    each of them computes on this machine.
    Raises UserError if a name is not in the list.
    """
    facts = pd.read_csv(FACTS)
    if unknown := [name for name in names if name not in set(facts["backbone"])]:
        near = nearest(unknown[0], facts["backbone"].unique().tolist(), "choose one of the list")
        raise UserError(
            f"there is no such backbone; {near}; `fovea backbones` lists all. "
            f"Received: {unknown[0]}"
        )
    rows = facts[facts["backbone"].isin(names)] if names else facts
    columns = ["backbone", ">width", ">from px", ">parameters", f">multiply-adds at {SIZE}"]
    table = [_row(row) for row in rows.itertuples()]
    if measured:
        columns.append(">images/s here")
        models = [_model(row.backbone, row.width) for row in rows.itertuples()]
        speeds = [_images_per_s(model) for model in track(models, "speed", len(models))]
        table = [[*row, f"{speed:,.0f}"] for row, speed in zip(table, speeds, strict=True)]
    show_table("the values of model.backbone, images up to 1,024 px", columns, table)
    show_lines(
        "width: those with ImageNet weights; with `weights: none`, a network with several of them, "
        "and compact, takes every width",
        *(
            [_how_measured()]
            if measured
            else [
                "to measure images/s here:",
                f"  fovea backbones --measure {' '.join(names) or 'mobilenet_v2 resnet50'}",
            ]
        ),
    )


def _how_measured() -> str:
    from components.model.backend import backend, threads

    return (
        f"images/s: features of images of {SIZE} px in batches of {BATCH}, with {backend()} on "
        f"{threads()} threads; a training step takes about three times as long"
    )


def _row(row: Any) -> list[str]:
    least = COMPACT_MIN_SIZE
    if row.backbone in APPLICATIONS:
        least = APPLICATIONS[row.backbone].min_size
    work = f"{row.multiply_adds / 1e9:.2f} G"
    return [row.backbone, f"{row.width:g}", str(least), f"{row.parameters / 1e6:.2f} M", work]


def _images_per_s(model: Model) -> float:
    """Return how many images a second the backbone of a model computes, with random weights."""
    import keras

    keras.backend.clear_session()
    backbone = build_backbone(model, SIZE)
    images = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)
    backbone.predict_on_batch(images)  # compiles
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < MEASURED_S:
        backbone.predict_on_batch(images)
        done += BATCH
    return done / (time.perf_counter() - start)


def facts_of(backbone: str, width: float) -> tuple[int, int]:
    """Return the parameters of a backbone, and its multiply-adds for an image of SIZE pixels."""
    layers = layers_of(_model(backbone, width), SIZE, num_classes=1)
    body = layers[: next(row for row, layer in enumerate(layers) if layer.names == ("dropout",))]
    parameters = sum(layer.parameters for layer in body)
    return parameters, sum(layer.multiply_adds for layer in body)


def listed() -> Iterable[tuple[str, float]]:
    """Yield each backbone with each of its listed widths, or with width 1."""
    yield "compact", 1.0
    for name, application in APPLICATIONS.items():
        for width in application.widths or (1.0,):
            yield name, width


def _model(backbone: str, width: float) -> Model:
    return Model(backbone=backbone, width=width, weights="none", **UNUSED_HEAD)


def write_facts() -> None:
    """Write backbones.csv."""
    rows = [(name, width, *facts_of(name, width)) for name, width in listed()]
    table = pd.DataFrame(rows, columns=["backbone", "width", "parameters", "multiply_adds"])
    table.to_csv(FACTS, index=False)


if __name__ == "__main__":
    write_facts()
