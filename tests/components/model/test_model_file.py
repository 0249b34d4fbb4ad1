"""The saved model: whole, equal for equal weights, and telling what it is."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from components.errors import UserError
from components.model import model_file
from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier, predict
from components.model.model_file import model_id, read_classifier, write_classifier
from components.model.warm_start import warm_start_classifier

IMAGES = np.random.default_rng(1).integers(0, 256, (70, 16, 16, 3), np.uint8)


@pytest.fixture
def classifier(params):
    return build_classifier(params.model, ["cat", "dög", "<b>"], 16, "crop")


def test_a_classifier_comes_back_as_it_was(classifier, tmp_path):
    write_classifier(tmp_path / "m.keras", classifier)
    read = read_classifier(tmp_path / "m.keras")
    assert (read.class_names, read.size, read.resize) == (("cat", "dög", "<b>"), 16, "crop")
    assert read.started_from == "none"
    np.testing.assert_array_equal(predict(read, IMAGES), predict(classifier, IMAGES))


@pytest.mark.parametrize("rule", ["stretch", {"window": {"low": 0, "high": 4095}}])
def test_the_rule_for_16_bits_comes_back_and_the_default_is_not_written(rule, classifier, tmp_path):
    write_classifier(tmp_path / "m.keras", replace(classifier, sixteen_bit=rule))
    assert read_classifier(tmp_path / "m.keras").sixteen_bit == rule
    write_classifier(tmp_path / "m.keras", classifier)
    assert read_classifier(tmp_path / "m.keras").sixteen_bit == "high_byte"
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert b"sixteen_bit" not in archive.read("metadata.json")


def test_the_rules_of_decoding_come_back_and_count_instead_of_others(classifier, tmp_path, params):
    others = params.ingest.decode
    rules = others.pixel_rules() | {"alpha": "drop", "background": [1, 2, 3]}
    write_classifier(tmp_path / "m.keras", replace(classifier, decode=rules))
    read = read_classifier(tmp_path / "m.keras")
    expected = others.model_copy(update={"alpha": "drop", "background": (1, 2, 3)})
    assert read.decode_rules(others) == expected
    # The limits of size are those of whoever decodes.
    assert read.decode_rules(others.model_copy(update={"max_bytes": 7})).max_bytes == 7
    write_classifier(tmp_path / "m.keras", replace(classifier, decode={"alpha": "drop"}))
    fewer = read_classifier(tmp_path / "m.keras").decode_rules(others)
    assert fewer == others.model_copy(update={"alpha": "drop"})
    write_classifier(tmp_path / "m.keras", replace(classifier, sixteen_bit="stretch"))
    old = read_classifier(tmp_path / "m.keras")
    assert (old.decode, old.decode_rules(others)) == (None, others.with_sixteen_bit("stretch"))


def test_equal_weights_give_equal_bytes(classifier, params, tmp_path):
    twin = build_classifier(params.model, ["cat", "dög", "<b>"], 16, "crop")
    twin.model.set_weights(classifier.model.get_weights())
    write_classifier(tmp_path / "one.keras", classifier)
    write_classifier(tmp_path / "two.keras", twin)
    assert model_id(tmp_path / "one.keras") == model_id(tmp_path / "two.keras")


def test_the_file_is_a_model_that_plain_keras_loads(classifier, tmp_path):
    load_keras()
    import keras

    write_classifier(tmp_path / "m.keras", classifier)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    expected = predict(classifier, IMAGES[:64])
    np.testing.assert_array_equal(loaded.predict_on_batch(IMAGES[:64]), expected)


def test_probabilities_are_float32_and_sum_to_one(classifier):
    probabilities = predict(classifier, IMAGES)
    assert probabilities.shape == (70, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_no_images_give_no_probabilities(classifier):
    assert predict(classifier, IMAGES[:0]).shape == (0, 3)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_one_sentence(content, tmp_path):
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(UserError, match="is not a model file that Fovea wrote"):
        read_classifier(tmp_path / "m.keras")


def test_a_missing_file_is_named_before_keras_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "load_keras", pytest.fail)
    with pytest.raises(UserError, match=r"the model file does not exist.*gone\.keras"):
        read_classifier(tmp_path / "gone.keras")


def test_a_foreign_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0"}')
    with pytest.raises(UserError, match="is not a model file that Fovea wrote"):
        read_classifier(tmp_path / "m.keras")


def test_training_cannot_start_from_a_network_without_a_backbone(params):
    load_keras()
    import keras

    images = keras.Input((16, 16, 3), dtype="uint8")
    foreign = keras.Model(images, keras.layers.GlobalAveragePooling2D(name="pool")(images))
    source = Classifier(foreign, ("a", "b", "c"), 16, "crop", "none")
    with pytest.raises(UserError, match=r"did not build; choose .* Received: the layers .*pool"):
        warm_start_classifier(params.model, ("a", "b"), 16, "crop", source, "")
