"""The last spatial layer is found by the graph: no branch, no padding, no single position."""

import keras
import pytest
from keras import layers

from components.errors import UserError
from components.explanation.spatial import layers_with_maps, maps_of_layer, split_at_last_maps
from components.model.backbones import build_backbone
from components.model.backend import load_keras
from components.params.model import UNUSED_HEAD, Model


@pytest.fixture(autouse=True)
def _no_weights():
    """Give no weight a value, which saves seconds for large networks."""
    load_keras()
    with keras.StatelessScope(initialize_variables=False):
        yield


def backbone(name, size, pooling="avg"):
    model = Model(backbone=name, width=1.0, weights="none", **{**UNUSED_HEAD, "pooling": pooling})
    return build_backbone(model, size)


def check(network, layer, shape):
    split = split_at_last_maps(network)
    assert split.layer == layer
    assert split.front.output_shape == (None, *shape) == split.rest.input_shape
    assert split.front.input_shape == network.input_shape
    assert split.rest.output_shape == network.output_shape


@pytest.mark.parametrize("pooling", ["avg", "max", "avg_max", "gem"])
def test_no_pooling_hides_the_last_maps(pooling):
    """The exponent of `gem` is computed from the maps, too, but it is no map."""
    check(backbone("compact", 32, pooling), "last_relu", (8, 8, 96))
    check(backbone("mobilenet_v2", 64, pooling), "out_relu", (2, 2, 1280))


def test_maps_with_one_position_are_not_used_and_neither_is_a_padding():
    """At 32 pixels, the last maps have one position, and a padding comes before them."""
    check(backbone("mobilenet_v2", 32), "block_13_expand_relu", (2, 2, 576))


def test_a_layer_in_a_network_in_a_network_is_found():
    """The downsampling of ConvNeXt is a Sequential in the application in the backbone."""
    check(backbone("convnext_tiny", 32), "convnext_tiny_downsampling_layernorm_2", (2, 2, 384))
    split = split_at_last_maps(backbone("convnext_tiny", 64))
    # Keras numbers the layer `add` by how many networks were built before.
    assert split.layer.startswith("add")
    assert split.front.output_shape == (None, 2, 2, 768)


def branches():
    images = keras.Input((8, 8, 3), dtype="uint8")
    pixels = layers.Rescaling(1 / 255, name="scale")(images)
    maps = layers.Conv2D(4, 3, padding="same", name="stem")(pixels)
    first = layers.Conv2D(6, 1, strides=2, name="first")(maps)
    second = layers.Conv2D(6, 3, strides=2, padding="same", name="second")(maps)
    joined = layers.Add(name="joined")([first, second])
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(joined)
    excited = layers.Multiply(name="excited")([joined, layers.Conv2D(6, 1)(squeezed)])
    left = layers.Conv2D(5, 1, name="left")(excited)
    right = layers.Conv2D(5, 1, name="right")(excited)
    pooled = [layers.GlobalAveragePooling2D()(left), layers.GlobalMaxPooling2D()(right)]
    return keras.Model(images, layers.Concatenate()(pooled), name="branches")


def test_a_branch_is_not_taken_for_the_whole():
    check(branches(), "excited", (4, 4, 6))


def test_the_scaled_pixels_are_no_maps():
    images = keras.Input((8, 8, 3), dtype="uint8")
    pixels = layers.Rescaling(1 / 255)(images)
    network = keras.Model(images, layers.GlobalAveragePooling2D()(pixels), name="colours")
    with pytest.raises(UserError, match="Received: colours, whose layers have none"):
        split_at_last_maps(network)


def test_every_layer_with_maps_is_found_by_its_name():
    network = backbone("mobilenet_v2", 64)
    known = layers_with_maps(network)
    assert known["out_relu"] == (2, 2, 1280)
    assert {"Conv1", "block_1_project"} <= set(known)
    assert not {"pool", "global_average_pooling2d"} & set(known)
    for name in ("Conv1", "out_relu"):
        assert maps_of_layer(network, name).output_shape == (None, *known[name])


def test_unknown_layers_are_refused_with_the_nearest_ones():
    network = branches()
    with pytest.raises(UserError, match=r"no such layer; write excited; .*Received: exited"):
        maps_of_layer(network, "exited")
    with pytest.raises(UserError, match=r"no maps .*; the last ones are excited, left, right; "):
        maps_of_layer(network, "squeeze")
