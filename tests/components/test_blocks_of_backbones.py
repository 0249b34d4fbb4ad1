"""The numbers of blocks with which params are checked are those of the networks."""

from components.model.applications import APPLICATIONS
from components.model.backbones import build_backbone
from components.params.blocks import BLOCKS
from components.params.model import UNUSED_HEAD, Model
from components.training.blocks import blocks


def test_every_backbone_has_its_number_of_blocks() -> None:
    assert set(BLOCKS) == {"compact", *APPLICATIONS}
    model = Model(backbone="compact", width=0.35, weights="none", **UNUSED_HEAD)
    assert len(blocks(build_backbone(model, 8))) == BLOCKS["compact"]
