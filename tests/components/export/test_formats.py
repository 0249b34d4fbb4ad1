"""A classifier in every format gives the probabilities of the classifier."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from components.calibration.averaged_views import add_views
from components.errors import UserError
from components.export.onnx_format import unknown_operators
from components.export.targets import TARGETS, Target, find_target
from components.model.backend import load_keras
from components.model.classifier import (
    Classifier,
    add_logit_adjustment,
    add_softmax,
    add_temperature,
    build_classifier,
    predict,
)
from components.params.reader import Params


def installed(target: Target) -> bool:
    return all(find_spec(module) for module in target.packages)


def target_of(name: str) -> Target:
    target = TARGETS[name]
    if not installed(target):
        pytest.skip(f"needs {', '.join(target.packages.values())}: pip install 'fovea[export]'")
    return find_target(name)


@pytest.fixture(scope="module")
def classifier(params: Params, tiny_backbone: None) -> Classifier:
    """A classifier with all layers that one can have, and random weights."""
    load_keras()
    import keras

    keras.utils.set_random_seed(5)
    plain = build_classifier(params.model, ["a", "b", "c"], 16, "squash")
    views = add_views(plain, "mirrored")
    return add_temperature(add_logit_adjustment(views, [0.5, 0.0, -0.5]), 0.2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("name", TARGETS)
def test_the_export_gives_the_probabilities_of_the_classifier(
    name: str, classifier: Classifier, images: np.ndarray, tmp_path: Path
) -> None:
    target = target_of(name)
    path = tmp_path / target.file
    exported = target.convert(classifier, path, images if target.calibrated else None)
    expected = predict(classifier, images)
    assert np.ptp(expected, axis=0).min() > 0.02  # else a constant would pass
    probabilities = exported.predict(images)
    assert probabilities.dtype == np.float32
    tolerance = 0.05 if target.calibrated else 1e-6
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)
    np.testing.assert_allclose(exported.predict(images[:1]), expected[:1], atol=tolerance)
    if target.calibrated:  # its softmax is computed in int8
        np.testing.assert_array_equal(probabilities * 256, (probabilities * 256).round())
    assert exported.input.dtype == "uint8"
    assert exported.input.shape == (None, 16, 16, 3)
    assert exported.output.shape == (None, 3)
    assert exported.input.name.startswith(("images", "serving_default_images"))


@pytest.mark.parametrize(
    ("name", "operator"),
    # LiteRT could use the operators of TensorFlow, which has all of these but `erfinv`.
    [("onnx", "erfinv"), ("litert", "erfinv"), ("litert", "erf")],
)
def test_an_operator_that_the_format_lacks_is_named(
    name: str, operator: str, classifier: Classifier, images: np.ndarray, tmp_path: Path
) -> None:
    import keras

    target = target_of(name)
    logits = getattr(keras.ops, operator)(classifier.logits_model.output * 0.01)
    network = keras.Model(classifier.model.input, add_softmax(logits))
    received = rf"^--to: \w+ has no operator for a part .* Received: {operator.capitalize()}$"
    with pytest.raises(UserError, match=received):
        target.convert(replace(classifier, model=network), tmp_path / target.file, images)


@pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")
def test_an_operator_of_another_domain_is_not_in_the_standard(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save_model

    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Sigmoid", ["y"], ["z"], domain="com.example"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xz"]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]
    save_model(helper.make_model(graph, opset_imports=domains), tmp_path / "m.onnx")
    assert unknown_operators(tmp_path / "m.onnx") == ["Sigmoid"]


def test_a_converter_that_fails_is_quoted_in_one_sentence(
    classifier: Classifier, tmp_path: Path
) -> None:
    def write(_: Classifier, path: Path) -> None:
        raise ValueError("bad\ngraph")

    target = replace(TARGETS["saved_model"], write=write)
    with pytest.raises(UserError, match=r"^--to saved_model: .* Received: bad graph"):
        target.convert(classifier, tmp_path / "model", None)


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it() -> None:
    missing = [target for target in TARGETS.values() if not installed(target)]
    if not missing:
        pytest.skip("needs an environment without fovea[export]")
    with pytest.raises(UserError, match=r"pip install 'fovea\[export\]'.*Received: no "):
        find_target(missing[0].name)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match=r"unset KERAS_BACKEND\. Received: jax"):
        find_target("saved_model")
