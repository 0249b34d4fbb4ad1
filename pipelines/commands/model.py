"""params.yaml → a table of the layers of its network, with their sizes and their work."""

from collections.abc import Sequence
from pathlib import Path

from components.calibration.averaged_views import VIEWS
from components.params.model import Model
from components.params.reader import Params, read_params
from components.search.layers import Layer
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_table
from pipelines.commands.layers import blocks_of, layers_of, repeats_of
from pipelines.formats import read_tree

COLUMNS = (">block", "layers", ">output", ">parameters", ">multiply-adds", ">receptive field")
ASSUMED = 2  # classes, before the stage `prepare` has counted them


def show_model(*, every_layer: bool) -> None:
    """Print the layers of the network that params.yaml describes, and the sums.

    every_layer: print every layer. Otherwise a line is a block of layers, or several equal blocks
    that follow each other.
    Raises UserError if params.yaml breaks a rule, or describes a network that cannot be built.
    """
    params = read_params(Path("params.yaml"))
    model, size = params.model, params.prepare.size
    classes = _class_count()
    layers = layers_of(model, size, classes or ASSUMED)
    shown = layers if every_layer else repeats_of(blocks_of(layers))
    title = f"{model.backbone} {model.width}, images of {size} × {size} × 3 pixels"
    show_table(title, COLUMNS, [_row(layer) for layer in shown])
    show_lines(*_sums(params, layers))
    if classes is None:
        show_lines(
            f"{ASSUMED} classes are assumed, because the stage `prepare` has not counted them yet"
        )
    if not every_layer:
        show_lines("to see every layer:", "  fovea model --layers")


def _row(layer: Layer) -> tuple[str, ...]:
    first, count = layer.names[0], len(layer.names)
    name = first if count == 1 else f"{first} … {layer.names[-1]} ({count} equal)"
    field = "image" if layer.field is None else f"{layer.field:,} px"
    numbers = (f"{layer.parameters:,}", f"{layer.multiply_adds:,}", field)
    return _block(layer.numbers), name, " × ".join(map(str, layer.shape)), *numbers


def _block(numbers: Sequence[int]) -> str:
    """Return the numbers of equal blocks as a text.

    >>> _block([]), _block([3]), _block([6, 5, 4])
    ('', '3', '6–4')
    """
    return "–".join(map(str, dict.fromkeys([*numbers[:1], *numbers[-1:]])))


def _sums(params: Params, layers: Sequence[Layer]) -> list[str]:
    model: Model = params.model
    parameters = sum(layer.parameters for layer in layers)
    work = sum(layer.multiply_adds for layer in layers)
    widest = max(layer.field or 0 for layer in layers)
    views = VIEWS[model.views]
    lines = [
        f"{parameters:,} parameters ({4 * parameters:,} bytes as float32), {work:,} multiply-adds "
        f"for an image; the last maps see squares of {widest:,} pixels"
    ]
    if views > 1:
        lines.append(
            f"with `views: {model.views}`, the saved model does this {views} times for an image: "
            f"{views * work:,} multiply-adds"
        )
    return lines


def _class_count() -> int | None:
    """Return the number of classes that the stage `prepare` has found; None before it has run."""
    if not artifacts.STATISTICS.exists():
        return None
    return len(read_tree(artifacts.STATISTICS)["class_names"])
