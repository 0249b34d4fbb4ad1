"""Models that cannot be built, or have no weights, are refused before work starts."""

from pathlib import Path

import pytest

from components.errors import UserError
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.model import UNUSED_HEAD, Model
from components.params.reader import Params, read_params
from components.registry.model_checks import check_model, check_models
from tests.cards import DIGITS


@pytest.fixture
def card(tmp_path: Path):
    """Return a function that reads the card of the demo with a search and with other lines."""

    def read(*changes: tuple[str, str]) -> Params:
        text = DIGITS.read_text()
        for old, new in [("  trials: 4 ", "  trials: 3 "), *changes]:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "params.yaml").write_text(text)
        return read_params(tmp_path / "params.yaml")

    return read


def width(low: float, high: float) -> tuple[str, str]:
    entry = f"model.width: {{low: {low}, high: {high}, log: false}}"
    return "    model.dropout:", f"    {entry}\n    model.dropout:"


MOBILENET = ("backbone: compact", "backbone: mobilenet_v2"), ("width: 0.5 ", "width: 0.35 ")
IMAGENET = ("weights: none", "weights: imagenet"), ("size: 16 ", "size: 96 ")


def test_a_range_of_widths_is_refused_if_imagenet_weights_have_some_of_them_only(card):
    params = card(*MOBILENET, *IMAGENET, width(0.35, 1.0))
    with pytest.raises(UserError) as refused:
        check_models(params)
    assert str(refused.value) == (
        "search.space.model.width must be choices, because mobilenet_v2 with ImageNet weights has "
        "only the widths 0.35, 0.5, 0.75, 1.0, 1.3, 1.4; write `model.width: {choices: [0.35, 0.5, "
        "0.75, 1.0]}`. Received: {low: 0.35, high: 1.0, log: false}"
    )


def test_a_range_of_widths_is_refused_for_a_backbone_without_widths(card):
    params = card(("backbone: compact", "backbone: resnet50"), ("width: 0.5 ", "width: 1.0 "),
                  ("size: 16 ", "size: 96 "), width(0.5, 1.0))  # fmt: skip
    with pytest.raises(UserError, match=r"resnet50 has only the widths 1\.0; write .*\[1\.0\]"):
        check_models(params)


def test_a_range_of_widths_is_taken_where_every_width_can_be_trained(card):
    check_models(card(width(0.35, 1.0)))
    check_models(card(*MOBILENET, ("size: 16 ", "size: 96 "), width(0.35, 1.0)))
    check_models(card(*MOBILENET, ("size: 16 ", "size: 96 "), width(0.35, 1.0),
                      ("trials: 3", "trials: 0")))  # fmt: skip


def test_weights_of_another_width_are_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("data/weights/old.keras")
    path.parent.mkdir(parents=True)
    model = Model(backbone="compact", width=0.5, weights="none", **UNUSED_HEAD)
    write_classifier(path, build_classifier(model, ("a", "b"), 16, "squash"))
    same = model.model_copy(update={"weights": str(path)})
    check_model(same, 16)
    with pytest.raises(UserError, match=r"in model\.weights were trained with another backbone"):
        check_model(same.model_copy(update={"width": 1.0}), 16)


def test_the_weights_for_label_errors_are_checked_and_their_keys_are_named(
    card, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    old = "backbone: none\n    width: 0.35\n    weights: imagenet"
    new = "backbone: mobilenet_v2\n    width: 0.35\n    weights: data/weights/a.keras"
    with pytest.raises(UserError, match=r"that validate\.label_errors\.weights names is missing"):
        check_models(card((old, new)))


def test_a_range_of_widths_may_be_for_the_backbones_that_take_all_widths(card):
    """The width of ResNet50 is that of params.yaml."""
    written = ("width: 0.5 ", "width: 1.0 "), ("size: 16 ", "size: 96 ")
    space = (
        "    model.backbone: {choices: [compact, resnet50]}\n"
        "    model.width: {low: 0.35, high: 1.0, log: false, when: {model.backbone: [%s]}}\n"
        "    model.dropout:"
    )
    check_models(card(*written, ("    model.dropout:", space % "compact")))
    with pytest.raises(UserError, match=r"width must be choices, because resnet50 has only the"):
        check_models(card(*written, ("    model.dropout:", space % "resnet50")))


def test_every_width_of_a_range_with_a_step_is_checked(card):
    entry = "    model.width: {low: 0.25, high: 1.0, log: false, step: 0.25}\n    model.dropout:"
    params = card(("    model.dropout:", entry))
    assert [model.width for model in params.models_to_try()] == [0.5, 0.25, 0.75, 1.0]
    check_models(params)
    written = ("backbone: compact", "backbone: resnet50"), ("width: 0.5 ", "width: 1.0 ")
    with pytest.raises(UserError, match=r"resnet50.*Received: 0\.25$"):
        check_models(card(*written, ("size: 16 ", "size: 96 "), ("    model.dropout:", entry)))
