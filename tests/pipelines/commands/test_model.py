"""`fovea model` and `fovea backbones`: their numbers are those of Keras, or counted by hand."""

import re
import shutil
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest

from components.errors import UserError
from components.model.applications import APPLICATIONS
from components.model.backbones import build_backbone
from components.model.backend import load_keras
from components.model.classifier import build_classifier, leaf_layers
from components.params.blocks import BLOCKS
from components.params.model import UNUSED_HEAD, Model
from components.params.reader import read_params
from components.params.train import LastBlocks
from components.training.blocks import freeze
from pipelines import artifacts
from pipelines.commands import backbones
from pipelines.commands.layers import blocks_of, layers_of, repeats_of
from pipelines.commands.model import show_model
from pipelines.formats import write_tree
from pipelines.workspace.params_text import with_value
from tests.cards import DIGITS
from tests.families import FAMILIES

MOBILENET = Model(backbone="mobilenet_v2", width=0.35, weights="none", **UNUSED_HEAD)
WIDTHS = {"compact": 0.35, "mobilenet_v2": 0.35}  # small networks of tests that are not slow


def test_multiply_adds_of_compact_are_those_counted_by_hand(params):
    """Width 0.5 has 12, 24 and 48 channels; at 16 px the stages have 16, 8 and 4 px."""
    model = params.model.model_copy(update={"hidden": (10,), "width": 0.5})
    layers = layers_of(model, 16, 7)
    stem = 16 * 16 * 9 * 3 * 12
    stage1 = 16 * 16 * 9 * 12 * 12 * 4
    stage2 = 8 * 8 * (9 * 12 * 24 + 9 * 24 * 24 * 3 + 12 * 24)
    stage3 = 4 * 4 * (9 * 24 * 48 + 9 * 48 * 48 * 3 + 24 * 48)
    head = 48 * 10 + 10 * 7
    assert sum(layer.multiply_adds for layer in layers) == stem + stage1 + stage2 + stage3 + head


def test_receptive_fields_of_compact_are_those_counted_by_hand(params):
    """A 3 × 3 convolution adds twice the distance of its inputs, which is 1, 2 and 4 pixels."""
    fields = {layer.names[0]: layer.field for layer in layers_of(params.model, 16, 7)}
    assert fields["stem"] == 3
    assert fields["stage1_block2_add"] == 3 + 4 * 2
    assert fields["stage2_block1_conv1"] == 11 + 2
    assert fields["stage2_block2_add"] == 13 + 3 * 4
    assert fields["stage3_block1_conv1"] == 25 + 4
    assert fields["last_relu"] == 29 + 3 * 8
    assert fields["pool"] is fields["logits"] is None


def test_parameters_and_shapes_are_those_of_keras(params):
    load_keras()
    for model in (MOBILENET, params.model.model_copy(update={"pooling": "gem", "hidden": (5,)})):
        layers = layers_of(model, 32, 7)
        keras_model = build_classifier(model, [str(number) for number in range(7)], 32, "squash")
        assert sum(layer.parameters for layer in layers) == keras_model.model.count_params()
        assert layers[-1].shape == keras_model.model.output_shape[1:]
        blocks = repeats_of(blocks_of(layers))
        assert sum(block.parameters for block in blocks) == keras_model.model.count_params()
        work = sum(layer.multiply_adds for layer in layers)
        assert sum(block.multiply_adds for block in blocks) == work


def test_blocks_have_the_names_of_keras_and_equal_ones_are_joined():
    blocks = repeats_of(blocks_of(layers_of(MOBILENET, 224, 7)))
    named = {block.names: block.numbers for block in blocks}
    assert named[("block_1",)] == (16,)
    assert named[("block_4", "block_5")] == (13, 12)
    assert next(iter(named.items())) == (("stem",), (18,))
    assert list(named.items())[-2:] == [(("block_16",), (1,)), (("head",), ())]
    assert [block.shape for block in blocks[-2:]] == [(7, 7, 1280), (7,)]
    assert [block.field for block in blocks[-2:]] == [491, None]


@pytest.mark.parametrize(
    ("name", "pooling", "shape", "field"),
    [
        ("compact", "gem", (4, 4, 96), 53),
        pytest.param("mobilenet_v3_small", "gem", (1, 1, 576), 639, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "avg", (1, 1, 768), 1688, marks=pytest.mark.slow),
    ],
)
def test_the_last_block_has_the_shape_of_its_maps_whatever_follows_them(
    name, pooling, shape, field
):
    model = MOBILENET.model_copy(update={"backbone": name, "width": 1.0, "pooling": pooling})
    layers = layers_of(model, 32 if name != "compact" else 16, 7)
    *_, last, head = blocks_of(layers)
    assert (last.numbers, last.shape, last.field) == ((1,), shape, field)
    assert (head.shape, head.field) == ((7,), None)
    assert all(layer.field is None for layer in layers if len(layer.shape) == 1)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in WIDTHS else pytest.mark.slow) for name in FAMILIES],
)
def test_blocks_are_numbered_as_last_blocks_counts_them(name):
    import keras

    model = MOBILENET.model_copy(update={"backbone": name, "width": WIDTHS.get(name, 1.0)})
    size = 32 if name in WIDTHS else APPLICATIONS[name].min_size
    layers = layers_of(model, size, 7)
    assert layers[0].numbers == (BLOCKS[name],)
    with keras.StatelessScope(initialize_variables=False):
        backbone = build_backbone(model, size)
        for number in (1, 2, BLOCKS[name] - 1, BLOCKS[name]):
            freeze(backbone, LastBlocks(last_blocks=number), hold_normalization=False)
            weighted = [layer for layer in leaf_layers(backbone) if layer.weights]
            last = [layer for layer in layers if layer.numbers and layer.numbers[0] <= number]
            trained = [layer.count_params() for layer in weighted if layer.trainable]
            assert trained == [layer.parameters for layer in last if layer.parameters]


@pytest.fixture
def here(tmp_path):
    shutil.copy(DIGITS, tmp_path / "params.yaml")
    with chdir(tmp_path):
        yield tmp_path


def test_the_table_fits_a_terminal_and_names_what_the_views_cost(here, capsys):
    file = Path("params.yaml")
    file.write_text(with_value(file.read_text(), ["model", "views"], "five"))
    show_model(every_layer=False)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:-5])) <= 120
    assert printed.splitlines()[-2:] == ["to see every layer:", "  fovea model --layers"]
    assert re.search(r"6–5 │ stage1_block1 … stage1_block2 \(2 equal\)", printed)
    assert re.search(r"4 │ stage2_block1 ", printed)
    assert re.search(r"│ +│ head ", printed)
    assert "the saved model does this 5 times for an image" in printed
    assert "2 classes are assumed" in printed
    layers = layers_of(read_params(file).model, 16, 2)
    parameters = sum(layer.parameters for layer in layers)
    work = sum(layer.multiply_adds for layer in layers)
    assert f"{parameters:,} parameters ({4 * parameters:,} bytes as float32), {work:,}" in printed
    assert f"does this 5 times for an image: {5 * work:,} multiply-adds" in printed
    write_tree(artifacts.STATISTICS, {"class_names": list("abcdefg")})
    show_model(every_layer=True)
    printed = capsys.readouterr().out
    assert re.search(r"4 │ stage2_block1_conv1 ", printed)
    assert "assumed" not in printed
    assert re.search(r"logits[│ ]+7 ", printed)


def test_backbones_are_listed_from_the_table_and_an_unknown_name_is_a_sentence(capsys):
    backbones.show_backbones([], measured=False)
    printed = capsys.readouterr().out
    for name in ("compact", "efficientnet_b7", "convnext_large", "nasnet_mobile"):
        assert name in printed
    # 300 million multiply-adds, as in its paper (Sandler et al., 2018).
    assert re.search(r"mobilenet_v2[│ ]+1[│ ]+32[│ ]+2\.26 M[│ ]+0\.30 G", printed)
    assert re.search(r"xception[│ ]+1[│ ]+71 ", printed)
    assert printed.splitlines()[-1] == "  fovea backbones --measure mobilenet_v2 resnet50"
    backbones.show_backbones(["compact", "vgg16"], measured=False)
    assert capsys.readouterr().out.endswith("\n  fovea backbones --measure compact vgg16\n")
    with pytest.raises(UserError, match=r"backbone; write mobilenet_v2; .*Received: mobilenetV2"):
        backbones.show_backbones(["mobilenetV2"], measured=False)


def test_the_speed_is_measured_on_demand(capsys, monkeypatch, tiny_backbone):
    monkeypatch.setattr(backbones, "MEASURED_S", 0.01)
    backbones.show_backbones(["compact"], measured=True)
    printed = capsys.readouterr().out
    assert "images/s here" in printed
    assert "threads" in printed


def test_the_table_has_every_backbone_and_width():
    facts = pd.read_csv(backbones.FACTS)
    assert list(zip(facts["backbone"], facts["width"], strict=True)) == list(backbones.listed())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width"), [(name, width) for name, width in backbones.listed() if width != 1]
)
def test_the_table_has_the_numbers_of_keras_for_other_widths(name, width):
    import keras

    load_keras()
    facts = pd.read_csv(backbones.FACTS).set_index(["backbone", "width"]).loc[(name, width)]
    assert tuple(facts) == backbones.facts_of(name, width)
    model = Model(backbone=name, width=width, weights="none", **UNUSED_HEAD)
    with keras.StatelessScope(initialize_variables=False):
        assert build_backbone(model, 224).count_params() == facts["parameters"]
