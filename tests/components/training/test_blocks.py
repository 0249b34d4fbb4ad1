"""Blocks by the names of layers, and what is trained of them."""

import keras
import numpy as np
import pytest

from components.params.train import LastBlocks
from components.training.blocks import blocks, freeze


def named(*names: str) -> keras.Model:
    """A network whose layers have these names; those with `norm` are batch normalisations."""
    layers = [
        keras.layers.BatchNormalization(name=name)
        if "norm" in name
        else keras.layers.Dense(2, name=name)
        for name in names
    ]
    return keras.Sequential([keras.Input((2,)), *layers])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("conv1", "block_1_expand", "block_1_norm", "block_2_a", "Conv_1"), (1, 2, 2)),
        (("stem_conv", "block1a_dwconv", "block1b_a", "block2a_a", "top_norm"), (1, 1, 1, 2)),
        (("conv1_conv", "conv2_block1_1_conv", "conv2_block2_1_conv", "post_norm"), (1, 1, 2)),
        (("conv1", "conv_dw_1", "conv_pw_1", "conv_dw_2", "conv_pw_2"), (1, 2, 2)),
        (("conv", "expanded_conv_project", "expanded_conv_1_expand", "conv_1"), (1, 1, 2)),
        (("x_stem_conv", "x_stage_0_block_0_a", "x_stage_0_block_1_a"), (1, 1, 1)),
        (("stem_conv1", "reduction_conv_1_stem_1", "adjust_a_0", "normal_left1_0"), (1, 1, 2)),
        (("conv2d", "mixed0", "conv2d_1", "conv2d_2", "mixed1", "last"), (2, 4)),
        (("one", "two"), (2,)),
    ],
)
def test_a_block_is_what_keras_names_so(names: tuple[str, ...], expected: tuple[int, ...]) -> None:
    found = blocks(named(*names))
    assert tuple(map(len, found)) == expected
    assert [layer.name for block in found for layer in block] == list(names)


@pytest.mark.parametrize(
    ("unfreeze", "trainable"),
    [
        ("none", []),
        (LastBlocks(last_blocks=1), ["block2_a"]),
        (LastBlocks(last_blocks=2), ["block1_a", "block2_a"]),
        ("all", ["stem", "block1_a", "block2_a"]),
    ],
)
def test_the_last_blocks_are_trained_without_their_normalisation(unfreeze, trainable) -> None:
    network = named("stem", "block1_a", "block1_norm", "block2_a")
    variables = freeze(network, unfreeze, hold_normalization=True)
    assert [layer.name for layer in network.layers if layer.trainable] == trainable
    names = [block[0].path.split("/")[-2] for block in variables]
    assert names == trainable[::-1]  # from output to input
    freeze(network, unfreeze, hold_normalization=False)
    assert network.get_layer("block1_norm").trainable == ("block1_a" in trainable)


def test_frozen_batch_normalisation_does_not_move_while_the_network_is_trained() -> None:
    network = named("stem", "block1_norm", "block2_norm", "block2_a")
    freeze(network, LastBlocks(last_blocks=1), hold_normalization=True)
    before = [layer.get_weights() for layer in network.layers]
    network.compile("sgd", "mse")
    images = np.random.default_rng(1).normal(5, 3, (8, 2)).astype(np.float32)
    network.fit(images, images, shuffle=False, verbose=0)
    changed = [
        layer.name
        for layer, weights in zip(network.layers, before, strict=True)
        if not all(map(np.array_equal, layer.get_weights(), weights))
    ]
    assert changed == ["block2_a"]
