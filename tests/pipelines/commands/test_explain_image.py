"""`fovea explain-image`: the pixels of `prepare`, a page for each image; else one sentence."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.images.png_writer import encode_png
from components.model.classifier import predict
from components.model.model_file import read_classifier, write_classifier
from components.params.reader import Params
from components.registry.versions import register_version
from components.tracking.runs import start_run
from pipelines import artifacts
from pipelines.commands.explain_image import FOLDER, SHEET
from pipelines.formats import read_table, read_tree, write_tree
from tests.components.origins import ORIGIN
from tests.components.pages.outline import Outline
from tests.pipelines.commands.digits_workspace import model_of_digits

Explain = Callable[..., tuple[int, str, str]]
PICTURE = re.compile(r'src="data:image/png;base64,([^"]*)"')


@pytest.fixture(scope="module")
def trained(
    prepared_digits: Path,
    params: Params,
    tiny_backbone: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A workspace with prepared digits, and a model with random weights."""
    folder = tmp_path_factory.mktemp("trained")
    model = model_of_digits(prepared_digits, folder, params)
    with chdir(folder):
        write_classifier(artifacts.MODEL, model)
    return folder


@pytest.fixture
def explain(trained: Path, folder_with_store: Path, typed: Explain) -> Explain:
    """Run the command in a copy of the workspace."""
    shutil.copytree(trained, folder_with_store, dirs_exist_ok=True)
    return partial(typed, "explain-image")


def pictures(page: Path) -> list[np.ndarray]:
    found = PICTURE.findall(page.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_the_page_has_the_pixels_of_prepare_and_the_nearest_training_images(
    explain: Explain,
) -> None:
    rows, images = read_table(artifacts.rows("train")), np.load(artifacts.images("train"))
    path = artifacts.RAW / rows["path"][3]
    status, out, err = explain(path, "--nearest", 2)
    assert (status, err) == (0, "")
    page = FOLDER / f"{path.stem}.html"
    assert str(page) in out
    image, overlay, _, itself, _ = pictures(page)
    np.testing.assert_array_equal(image, images[3])
    assert overlay.shape == images[3].shape
    np.testing.assert_array_equal(itself, images[3])
    outline = Outline(page.read_text())
    assert rows["label"][3] in outline.section("nearest")
    # The most probable classes are those of the model.
    classifier = read_classifier(artifacts.MODEL)
    shares = predict(classifier, images[3:4])[0]
    best = int(shares.argmax())
    assert f"{classifier.class_names[best]} {shares[best]:.3f}" in outline.section("top")
    assert outline.section("top").count("0.") == 5
    assert f"{shares[best]:.3f}" in out


def test_an_image_of_16_bits_is_reduced_by_the_rule_of_the_model(explain: Explain) -> None:
    classifier = read_classifier(artifacts.MODEL)
    size = classifier.size
    deep = np.random.default_rng(1).integers(1000, 3000, (size, size), np.uint16)
    Image.fromarray(deep).save("deep.png")
    seen = {}
    for rule in ("high_byte", "stretch"):
        write_classifier(artifacts.MODEL, replace(classifier, sixteen_bit=rule))
        assert explain("deep.png", "--nearest", 0)[0] == 0
        seen[rule] = pictures(FOLDER / "deep.html")[0]
    np.testing.assert_array_equal(seen["high_byte"][..., 0], deep >> 8)
    assert (seen["stretch"].min(), seen["stretch"].max()) == (0, 255)


def test_a_path_of_a_report_is_found_below_data_raw_and_many_get_a_sheet(explain: Explain) -> None:
    first, second = read_table(artifacts.rows("test"))["path"][:2]
    folder = Path("new/pages")
    status, out, err = explain(first, second, "--to", folder, "--nearest", 0)
    assert (status, err) == (0, "")
    assert {file.name for file in folder.iterdir()} == {
        f"{Path(first).stem}.html",
        f"{Path(second).stem}.html",
        SHEET,
    }
    assert f"{folder / SHEET} has all of them" in out
    assert not (artifacts.STATE / "features").exists()
    assert not FOLDER.exists()


def test_a_class_and_a_layer_can_be_asked_for(explain: Explain) -> None:
    path = read_table(artifacts.rows("test"))["path"][0]
    status, _, err = explain(path, "--class", "7", "--layer", "block1_conv", "--nearest", 0)
    assert (status, err) == (0, "")
    (page,) = FOLDER.iterdir()
    outline = Outline(page.read_text())
    assert "of 12 channels" in outline.section("channels")
    assert len(pictures(page)) == 3 + 12
    assert re.search(r"speaks? for\s+7", outline.text)


def test_images_with_the_same_name_get_pages_of_their_own(explain: Explain) -> None:
    for folder in ("a", "b"):
        Path(folder).mkdir()
        shutil.copy(next(artifacts.RAW.glob("3/*.png")), f"{folder}/x.png")
    assert explain("a/x.png", "b/x.png", "--nearest", 0)[0] == 0
    assert {file.name for file in FOLDER.iterdir()} == {"x.html", "x-2.html", SHEET}


def test_a_version_can_be_named_by_number_or_alias(explain: Explain) -> None:
    model = Path("model.keras")
    shutil.move(artifacts.MODEL, model)
    with start_run("train", ORIGIN, {"stage": "train"}) as run:
        pass
    example = np.zeros((1, 16, 16, 3), np.uint8)
    register_version("digits", model, run, example, 10, {"verdict": "promote"})
    path = read_table(artifacts.rows("test"))["path"][0]
    for name in ("@challenger", "models:/digits/1", "models:/digits@challenger", "model.keras"):
        status, _, err = explain(path, "--model", name, "--nearest", 0)
        assert (status, err) == (0, ""), name
        (page,) = FOLDER.iterdir()
        assert name in Outline(page.read_text()).names
    status, _, err = explain(path, "--model", "models:/digits/7")
    assert (status, err.count("\n")) == (1, 1)
    assert "only version 1 (challenger)" in err
    status, _, err = explain(path, "--model", f"models:/digits/1#sha256={'0' * 64}")
    assert status == 1 and "the sha256 of version 1 of digits is" in err
    assert "Received: models:/digits" in explain(path, "--model", "models:/digits")[2]


def test_without_training_images_that_fit_the_page_has_none(explain: Explain) -> None:
    path = read_table(artifacts.rows("test"))["path"][0]
    statistics = read_tree(artifacts.STATISTICS)
    write_tree(artifacts.STATISTICS, statistics | {"size": 20})
    status, out, _ = explain(path)
    assert status == 0
    assert "without nearest training images: data/prepare has them at 20 pixels" in out
    artifacts.STATISTICS.unlink()
    assert explain(path)[0] == 0
    (page,) = FOLDER.iterdir()
    assert "nearest" not in Outline(page.read_text()).ids


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("text.png",), "must be an image that the stage `ingest` would accept, but "),
        (("missing.png",), "there is no such image, and none below data/raw; correct the path"),
        (("x" * 300,), "there is no such image, and none below data/raw; correct the path"),
        (("../outside.png",), "there is no such image"),
        (("data",), "PATH must be an image; write data/*.jpg"),
        (("{image}", "--class", "77"), "--class: the model has no such class; "),
        (
            ("{image}", "--layer", "block1_con"),
            "no such layer; the nearest names are block1_conv",
        ),
        (("{image}", "--layer", "pool"), "--layer: the output of this layer is no maps"),
        (("{image}", "--model", "other.keras"), "the model file does not exist; "),
        (("{image}", "--model", "text.png"), "text.png is damaged, or is not a model file"),
        (("{image}", "--model", "models:/a b@c@d"), "--model must be a file, models:/NAME@ALIAS"),
        (("{image}", "--model", "@champion"), "digits at "),
        (("{image}", "--to", "text.png/pages"), "--to must be a folder; give another path"),
        (("{image}", "--to", "x" * 300), "--to: this folder cannot be made (File name too long)"),
        (("{image}",) * 201, "PATH: give at most 200 images at once. Received: 201 images"),
        (("big.png",), "big.png has more bytes than ingest.decode.max_bytes"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, explain: Explain
) -> None:
    Path("text.png").write_text("no image")
    if arguments == ("big.png",):
        Path("big.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)) + bytes(100))
        small = Path("params.yaml").read_text().replace("max_bytes: 50_000_000", "max_bytes: 100")
        Path("params.yaml").write_text(small)
    image = read_table(artifacts.rows("test"))["path"][0]
    status, _, err = explain(*(each.format(image=image) for each in arguments))
    assert status == 1
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert "Received: " in err
    assert not FOLDER.exists()


def test_a_model_that_predicts_no_numbers_is_refused(explain: Explain) -> None:
    classifier = read_classifier(artifacts.MODEL)
    classifier.model.get_layer("logits").bias.assign(np.full(10, np.nan, np.float32))
    write_classifier(artifacts.MODEL, classifier)
    path = read_table(artifacts.rows("test"))["path"][0]
    status, _, err = explain(path)
    assert status == 1
    assert "must give finite probabilities" in err


def test_the_help_teaches_what_to_type(explain: Explain) -> None:
    status, out, _ = explain("--help")
    assert status == 0
    words = " ".join(out.split())
    for part in ("Grad-CAM", "Example: fovea explain-image photo.jpg", "@champion", "--layer"):
        assert part in words
    assert explain()[0] == 2
