"""The numbers of blocks with which params are checked are those of the networks."""

import pytest

from components.model.applications import APPLICATIONS
from components.model.backbones import build_backbone
from components.params.blocks import BLOCKS
from components.params.model import UNUSED_HEAD, Model
from components.training.blocks import blocks


def test_every_backbone_has_its_number_of_blocks() -> None:
    assert set(BLOCKS) == {"compact", *APPLICATIONS}
    model = Model(backbone="compact", width=0.35, weights="none", **UNUSED_HEAD)
    assert len(blocks(build_backbone(model, 8))) == BLOCKS["compact"]


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_number_of_blocks_is_that_of_the_network(name: str) -> None:
    width = 0.35 if name == "mobilenet_v2" else 1.0
    model = Model(backbone=name, width=width, weights="none", **UNUSED_HEAD)
    backbone = build_backbone(model, APPLICATIONS[name].min_size)
    found = blocks(backbone)
    assert len(found) == BLOCKS[name]
    assert sum(map(len, found)) == len([1 for block in found for layer in block if layer.weights])
