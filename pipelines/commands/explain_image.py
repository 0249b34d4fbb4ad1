"""Paths of images, a model → for each image, a page that shows what the model sees in it.

The images are decoded and resized exactly as in the stage `prepare`, by the rules of the model.
No file of a stage is changed.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.errors import UserError
from components.evaluation.finite import check_finite
from components.explanation.explanation import Explanation, contact_sheet, explain_images
from components.explanation.few_images import outputs_of_few
from components.explanation.grad_cam import GradCam
from components.explanation.nearest import TrainingImages, training_images
from components.explanation.page import Origin, explanation_page
from components.explanation.pictures import FeatureMaps, feature_maps
from components.files import write_whole
from components.images.fault import Fault
from components.model.classifier import Classifier
from components.params.ingest import Decode
from components.params.reader import read_params
from components.params.sentences import nearest as nearest_names
from components.serving import Model, load
from components.sources.reading import read_bytes
from components.training_set.pixels import read_images
from components.words import name_list, printable
from pipelines import artifacts
from pipelines.commands.console import show_lines, show_table
from pipelines.commands.model_option import model_address
from pipelines.formats import read_table, read_tree, write_text

log = logging.getLogger(__name__)

FOLDER = artifacts.STATE / "explanations"
SHEET = "contact-sheet.png"
MOST = 200  # images at once: all of them are in memory, and on one contact sheet
TOP = 5  # classes on a page
CHANNELS = 24  # channels of a layer on a page
LONGEST_STEM = 100  # characters of the name of a page; file systems allow 255 bytes


@dataclass(frozen=True)
class Options:
    """The options of `fovea explain-image`.

    model: a file, a version in MLflow, or an alias such as `@champion`; None for the model of the
    workspace. class_name: the class that the maps are for; None for the predicted class. layer: the
    layer whose maps are shown; None for none. to: the folder for the pages. nearest: the number of
    training images that look alike.
    """

    model: str | None
    class_name: str | None
    layer: str | None
    to: Path
    nearest: int


def explain_paths(paths: Sequence[Path], options: Options) -> None:
    """Write a page for each image, and print what the model predicts.

    paths: image files, or paths of images as in reports, relative to data/raw.
    Raises UserError if params.yaml breaks a rule, if an image cannot be read or decoded, if there
    is no such model, class or layer, if the model has no spatial layer, or if the folder for the
    pages cannot be made.
    """
    params = read_params(Path("params.yaml"))
    _check_arguments(paths, options)
    contents = [_content(path, params.ingest.decode) for path in paths]
    address = model_address(options.model)
    model = load(address, "--model").with_limits(params.ingest.decode)
    classifier = model.classifier
    grad_cam = GradCam(classifier)
    asked = _class_index(classifier, options.class_name)
    images = _images(paths, contents, model)
    channels: Sequence[FeatureMaps | None] = [None] * len(images)
    if options.layer:
        channels = feature_maps(classifier, images, options.layer, CHANNELS)
    _make_folder(options.to)
    probabilities = outputs_of_few(classifier.model, images)
    check_finite(probabilities)
    explanations = explain_images(
        grad_cam,
        images,
        np.arange(len(images)),
        probabilities,
        classes=None if asked is None else np.full(len(images), asked),
        train=_training_images(classifier, options.nearest),
        count=options.nearest,
    )
    pages = _page_names(paths)
    called = options.model or address
    for row, path in enumerate(paths):
        origin = Origin(printable(str(path)), called, grad_cam.layer, grad_cam.grid)
        top = _top(classifier, probabilities[row])
        page = explanation_page(origin, explanations[row], top, channels[row])
        write_text(options.to / pages[row], page)
    _show(paths, classifier, explanations, probabilities, [options.to / page for page in pages])
    if len(paths) > 1:
        with write_whole(options.to / SHEET) as temporary:
            temporary.write_bytes(contact_sheet(explanations))
        show_lines(f"{options.to / SHEET} has all of them")


def _check_arguments(paths: Sequence[Path], options: Options) -> None:
    if len(paths) > MOST:
        raise UserError(
            f"PATH: give at most {MOST} images at once. Received: {len(paths):,} images"
        )
    # A name that is too long does not exist, and `is_file` would raise an OSError for it.
    existing = filter(os.path.lexists, (options.to, *options.to.parents))
    file = next((path for path in existing if path.is_file()), None)
    if file is not None:
        raise UserError(f"--to must be a folder; give another path. Received: {file}, a file")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--to: this folder cannot be made ({error.strerror}); give another path. "
            f"Received: {folder}"
        ) from None


def _content(path: Path, params: Decode) -> bytes:
    """Return the bytes of an image file. A path that is not there may be relative to data/raw."""
    exists = os.path.lexists(path)  # not so if its name is too long
    if exists and path.is_dir():
        raise UserError(
            f"PATH must be an image; write {path}/*.jpg for the images of a folder. "
            f"Received: {path}, a folder"
        )
    if not exists or not path.is_file():
        return _raw_content(path, params)
    if (size := path.stat().st_size) > params.max_bytes:
        raise UserError(
            f"{path} has more bytes than ingest.decode.max_bytes; raise it, or give another file. "
            f"Received: {size:,} bytes"
        )
    return path.read_bytes()


def _raw_content(path: Path, params: Decode) -> bytes:
    try:
        return read_bytes(artifacts.RAW, path.as_posix(), params.max_bytes, artifacts.STATE)
    except Fault as fault:
        known = fault.code not in ("missing", "outside")
        what = fault.text if known else f"there is no such image, and none below {artifacts.RAW}"
        raise UserError(f"PATH: {what}; correct the path. Received: {path}") from None


def _images(paths: Sequence[Path], contents: Sequence[bytes], model: Model) -> NDArray[np.uint8]:
    """Return the pixels that the model gets, uint8 [N, S, S, 3]."""
    images = []
    for path, content in zip(paths, contents, strict=True):
        try:
            images.append(model.pixels(content))
        except Fault as fault:
            raise UserError(
                f"PATH must be an image that the stage `ingest` would accept, but {fault.text}; "
                f"give another file. Received: {path}"
            ) from None
    return np.stack(images)


def _class_index(classifier: Classifier, name: str | None) -> int | None:
    if name is None:
        return None
    names = classifier.class_names
    if name in names:
        return names.index(name)
    offer = nearest_names(name, names, f"the model has the classes {name_list(names)}")
    raise UserError(f"--class: the model has no such class; {offer}. Received: {name}")


def _training_images(classifier: Classifier, count: int) -> TrainingImages | None:
    """Return the train split of the workspace, or None if there is none that fits the model."""
    if not count or not artifacts.STATISTICS.is_file():
        return None
    statistics = read_tree(artifacts.STATISTICS)
    prepared = (statistics["size"], statistics["resize"])
    if prepared != (classifier.size, classifier.resize):
        log.info(
            f"without nearest training images: data/prepare has them at {prepared[0]} pixels "
            f"({prepared[1]}), and the model takes {classifier.size} ({classifier.resize})"
        )
        return None
    images = read_images(artifacts.images("train"), statistics["pixels"]["train"])
    labels = read_table(artifacts.rows("train"))["label"].tolist()
    artifacts.STATE.mkdir(exist_ok=True)
    return training_images(classifier, images, labels, artifacts.STATE / "features")


def _page_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for the page of each image; equal names get numbers.

    >>> _page_names([Path("cat/1.png"), Path("dog/1.png"), Path("2.jpg")])
    ['1.html', '1-2.html', '2.html']
    """
    names: list[str] = []
    for path in paths:
        stem, number = path.stem[:LONGEST_STEM], 2
        name = f"{stem}.html"
        while name in names:
            name, number = f"{stem}-{number}.html", number + 1
        names.append(name)
    return names


def _top(classifier: Classifier, probabilities: NDArray[np.float32]) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[:TOP].tolist()
    return [(classifier.class_names[index], float(probabilities[index])) for index in order]


def _show(
    paths: Sequence[Path],
    classifier: Classifier,
    explanations: Sequence[Explanation],
    probabilities: NDArray[np.float32],
    pages: Sequence[Path],
) -> None:
    show_table(
        "",
        ("image", "predicted", ">probability", "then", "map for"),
        [
            (
                printable(str(path)),
                explanation.predicted,
                f"{explanation.probability:.3f}",
                ", ".join(f"{name} {share:.3f}" for name, share in _top(classifier, shares)[1:2]),
                explanation.explained if explanation.marked else f"{explanation.explained} (empty)",
            )
            for path, explanation, shares in zip(paths, explanations, probabilities, strict=True)
        ],
    )
    show_lines(*map(str, pages))
