"""A ranking of labels and thumbnails → the HTML page of `fovea labels`."""

from collections.abc import Mapping
from pathlib import Path

from components.images.decoder import Pixels
from components.pages.page import render
from components.validation.page.page import Tree, pictured, ranking

TEMPLATE = Path(__file__).with_name("labels.html.jinja")


def labels_page(errors: Tree, pictures: Mapping[str, Pixels], model_id: str) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    errors: a ranking, the result of `components.label_errors.suspects.LabelErrors.tree`. pictures:
    path → thumbnail, uint8 [h, w, 3], for the paths that `picture_paths` returns. model_id: the
    sha256 of the model whose features were used.
    """
    return render(
        TEMPLATE,
        errors=errors,
        ranking=ranking(errors),
        thumbnails=pictured(pictures),
        model_id=model_id,
    )


def picture_paths(errors: Tree) -> list[str]:
    """Return the paths of the pictures on the page, in the order of the page."""
    return [image["path"] for image in ranking(errors)["rows"]]
