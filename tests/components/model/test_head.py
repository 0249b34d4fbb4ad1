"""Pooling, hidden layers and penalties: their values, their training, and their way into a file."""

import keras
import numpy as np
import pytest

from components.errors import UserError
from components.model.archive_checks import check_archive
from components.model.backbones import build_backbone, check_backbone
from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier, outputs, predict
from components.model.model_file import read_classifier, write_classifier
from components.model.pooling import add_pooling, pooling_of
from components.model.warm_start import warm_start_classifier

NAMES = ("a", "b", "c")
IMAGES = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), np.uint8)
RICH = {"pooling": "gem", "hidden": (7, 5), "batch_norm": True, "l1": 0.01, "l2": 0.1}


@pytest.fixture(scope="module", autouse=True)
def _tiny_backbone(tiny_backbone):
    load_keras()


def built(params, **update) -> Classifier:
    keras.utils.set_random_seed(3)
    return build_classifier(params.model.model_copy(update=update), NAMES, 8, "squash")


@pytest.mark.parametrize("pooling", ["avg", "max", "avg_max", "gem"])
def test_a_pooling_gives_the_features_that_its_name_says(pooling):
    maps = np.random.default_rng(2).normal(1, 1, (4, 3, 2, 5)).astype(np.float32)
    given = keras.Input(maps.shape[1:])
    network = keras.Model(given, add_pooling(given, pooling))
    positive = np.maximum(maps, 1e-6)
    expected = {
        "avg": maps.mean((1, 2)),
        "max": maps.max((1, 2)),
        "avg_max": np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], axis=1),
        "gem": (positive**3).mean((1, 2)) ** (1 / 3),
    }
    found = network.predict_on_batch(maps)
    np.testing.assert_allclose(found, expected[pooling], rtol=1e-5)
    assert pooling_of(network) == pooling
    if pooling == "gem":
        network.get_layer("exponent").kernel.assign([[1.0]])
        np.testing.assert_allclose(network.predict_on_batch(maps), positive.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("pooling", ["avg", "max", "avg_max", "gem"])
def test_the_pooling_of_an_application_is_known_from_its_layers(pooling, params):
    update = {"backbone": "mobilenet_v3_small", "width": 1.0, "pooling": pooling}
    with keras.StatelessScope(initialize_variables=False):
        backbone = build_backbone(params.model.model_copy(update=update), 32)
    assert pooling_of(backbone) == pooling
    assert backbone.output_shape == (None, 1152 if pooling == "avg_max" else 576)


@pytest.mark.slow
def test_the_exponent_is_learned_with_the_backbone(params):
    model = params.model.model_copy(update={"pooling": "gem"})
    classifier = build_classifier(model, NAMES, 16, "squash")  # at 8 px a map has one value
    network = classifier.logits_model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(1.0), loss)
    network.train_on_batch(np.tile(IMAGES, (1, 2, 2, 1)), np.array([0, 1, 2, 0, 1]))
    [[[exponent]]] = classifier.backbone.get_layer("exponent").get_weights()
    assert np.isfinite(exponent) and exponent != 3.0


def test_the_head_has_the_layers_that_were_asked_for_and_shares_them(params):
    classifier = built(params, **RICH)
    assert [layer.name for layer in classifier.model.layers] == [
        *("images", "backbone"),
        *("hidden1_dropout", "hidden1", "hidden1_norm", "hidden1_relu"),
        *("hidden2_dropout", "hidden2", "hidden2_norm", "hidden2_relu"),
        *("dropout", "logits", "probabilities"),
    ]
    layer = classifier.model.get_layer
    dropouts = [layer(name).rate for name in ("hidden1_dropout", "hidden2_dropout", "dropout")]
    assert dropouts == [params.model.dropout] * 3
    assert layer("hidden1_norm").momentum == 0.9
    assert not layer("hidden1").use_bias  # the normalisation has one
    features = outputs(classifier.backbone, IMAGES)
    logits = outputs(classifier.logits_model, IMAGES)
    np.testing.assert_allclose(outputs(classifier.head, features), logits, rtol=1e-5, atol=1e-6)
    kernels = [classifier.model.get_layer(name).kernel for name in ("hidden1", "hidden2", "logits")]
    values = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    expected = sum(0.01 * abs(value).sum() + 0.1 * (value**2).sum() for value in values)
    assert float(sum(classifier.head.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "pooling", ["gem", *(pytest.param(name, marks=pytest.mark.slow) for name in ("max", "avg_max"))]
)
def test_a_head_and_its_pooling_come_back_from_the_file(pooling, params, tmp_path):
    classifier = built(params, **{**RICH, "pooling": pooling})
    write_classifier(tmp_path / "m.keras", classifier)
    assert check_archive(tmp_path / "m.keras").class_names == NAMES
    read = read_classifier(tmp_path / "m.keras")
    assert pooling_of(read.backbone) == pooling
    np.testing.assert_array_equal(predict(read, IMAGES), predict(classifier, IMAGES))


def warm(params, source, **update):
    model = params.model.model_copy(update=update)
    return warm_start_classifier(model, ("b", "a"), 8, "squash", source, "id")


def test_a_warm_start_takes_over_the_hidden_layers_and_the_classes_that_both_have(params):
    source = built(params, **RICH)
    source.model.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    source.backbone.trainable = False
    before = outputs(source.logits_model, IMAGES)
    started = warm(params, source, **RICH, dropout=0.7)
    np.testing.assert_array_equal(outputs(started.logits_model, IMAGES), before[:, [1, 0]])
    assert started.backbone.trainable_variables


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"hidden": (7,)}, "because its hidden layers are others than those of the weights"),
        ({"batch_norm": False}, "instead of hidden1_dropout, hidden1, hidden1_norm, hidden1_relu"),
        ({"pooling": "avg"}, "were trained with `pooling: gem`. Received: model.pooling: avg"),
        ({"pooling": "avg_max"}, "the head starts with random weights"),
    ],
)
def test_a_warm_start_with_another_head_keeps_the_backbone_and_says_so(
    other, sentence, params, caplog
):
    source = built(params, **RICH)
    kept = [weight.numpy() for weight in source.backbone.weights if "exponent" not in weight.path]
    with caplog.at_level("INFO"):
        started = warm(params, source, **{**RICH, **other})
    assert sentence in caplog.text
    for weight, before in zip(
        [weight for weight in started.backbone.weights if "exponent" not in weight.path],
        kept,
        strict=True,
    ):
        np.testing.assert_array_equal(weight.numpy(), before)
    assert pooling_of(started.backbone) == {**RICH, **other}["pooling"]
    assert np.isfinite(outputs(started.logits_model, IMAGES)).all()


def test_a_warm_start_from_the_mean_to_the_generalised_mean_begins_with_exponent_3(params):
    started = warm(params, built(params), pooling="gem")
    assert started.backbone.get_layer("exponent").get_weights() == [[[3.0]]]


def test_a_warm_start_at_another_size_takes_over_the_weights(params):
    source = built(params)
    larger = warm_start_classifier(params.model, ("b", "a"), 12, "squash", source, "id")
    assert larger.size == 12
    for weight, before in zip(
        larger.backbone.get_weights(), source.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, before)


def test_five_views_of_a_tiny_image_are_one_sentence(params):
    five = params.model.model_copy(update={"views": "five"})
    check_backbone(five, 16)
    with pytest.raises(
        UserError, match=r"needs a side of at least 16 .* prepare\.size.*ceived: 15$"
    ):
        check_backbone(five, 15)
