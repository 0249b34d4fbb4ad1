"""params.yaml: every broken rule names the key, the rule and what was received."""

import pytest

from components.errors import UserError
from components.params.hyperparameters import Hyperparameters
from components.params.reader import read_params
from tests.cards import DIGITS

TEXT = DIGITS.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 1 ", "sead: 1 ", r"sead is not a known key\. Received: 1"),
        ("seed: 1 ", "", r"seed is missing"),
        ("dropout: 0.2", "dropout: 2", r"model\.dropout should be less than 1\. Received: 2"),
        ("loss: cross_entropy", "loss: mse", r"train\.loss should be 'cross_entropy', .*'mse'"),
        ("batch_size: 32", "batch_size: 3.5", r"train\.batch_size should be a valid integer.*3\.5"),
        ("val: 0.15", "val: 0.9", r"val \+ test must be below 1"),
        ("labels: any", "labels: 3", r"validate\.label_known\.labels .*Received: 3"),
        ("train.weight_decay:", "train.weight_dekay:", r"Received: train\.weight_dekay"),
        (
            "model.dropout:",
            "prepare.size:",
            r"only values of model and train .*Received: prepare\.size",
        ),
        ("low: 0.0005, high: 0.01", "low: 0.1, high: 0.01", r"low must be below high"),
        ("low: 0.00001,", "low: 0,", r"low must be above 0 if log is true"),
        ("[0.0, 0.2, 0.4]", "[0.0, 7]", r"model\.dropout should be less than 1\. Received: 7"),
        ("[0.0, 0.2, 0.4]", "[]", r"search\.space\.model\.dropout\.choices"),
        ("  strategy: none", "  strategy: [", r"is not valid YAML"),
        ("epochs: 15", "epochs: 0", r"nothing would be trained: raise train\.finetune"),
        (TEXT, "- a list", r"must have sections"),
    ],
)
def test_a_broken_rule_is_named(old, new, message, tmp_path):
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_params(tmp_path / "params.yaml")


SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "weights",
    [
        "none",
        "imagenet",
        "data/weights/a.keras",
        "data/weights/old/v 1.keras",
        "models:/birds/3",
        f"models:/birds/12#sha256={SHA256}",
    ],
)
def test_weights_that_cannot_move_are_taken(weights, tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("weights: none", f"weights: {weights}"))
    assert read_params(tmp_path / "params.yaml").model.weights == weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("models:/birds@champion", r"an alias can point.*`fovea retrain --from champion` writes"),
        ("old.keras", r"must be below data/weights.*write data/weights/NAME\.keras"),
        ("/tmp/data/weights/old.keras", r"must be below data/weights"),
        ("data/weights/../old.keras", r"must be below data/weights"),
        ("data/weights/.hidden.keras", r"must be below data/weights"),
        ("data/weights\\old.keras", r"must be below data/weights"),
        ("data/weights/old.h5", r"should be imagenet, none, data/weights/NAME\.keras, or models:"),
        ("models:/birds", r"should be imagenet, none, data/weights/NAME\.keras, or models:"),
        ("models:/../1", r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>"),
        ("models:/birds/0", r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>"),
        (
            f"models:/birds/3#sha256={SHA256[1:]}",
            r"or models:/NAME/3#sha256=<64 digits, 0-9 and a-f>",
        ),
    ],
)
@pytest.mark.parametrize("key", ["model.weights", "search.space", "validate.label_errors.weights"])
def test_weights_that_may_move_are_answered_with_the_way_to_write_them(
    key, weights, message, tmp_path
):
    old, new = {
        "model.weights": ("weights: none", f"weights: {weights}"),
        "search.space": ("    model.dropout:", f"    model.weights: {{ choices: ['{weights}'] }}\n"
                         "    model.dropout:"),
        "validate.label_errors.weights": ("weights: imagenet\n", f"weights: '{weights}'\n"),
    }[key]  # fmt: skip
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=message) as refused:
        read_params(tmp_path / "params.yaml")
    assert f"{key}" in str(refused.value)
    assert str(refused.value).endswith(f"Received: {weights!r}")


def test_label_errors_are_not_looked_for_with_random_weights(tmp_path):
    old = "backbone: none\n    width: 0.35\n    weights: imagenet"
    new = "backbone: mobilenet_v2\n    width: 0.35\n    weights: none"
    assert old in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=r"validate\.label_errors: weights must not be none"):
        read_params(tmp_path / "params.yaml")


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the repository's root"):
        read_params(tmp_path / "params.yaml")


def test_several_mistakes_are_reported_at_once(tmp_path):
    text = TEXT.replace("dropout: 0.2", "dropout: 2").replace("batch_size: 32", "batch_size: 0")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"model\.dropout.*; train\.batch_size"):
        read_params(tmp_path / "params.yaml")


def test_params_cannot_be_changed(params):
    with pytest.raises(ValueError, match="frozen"):
        params.model.dropout = 0.5


def test_overrides_reach_nested_values(params):
    written = Hyperparameters(model=params.model, train=params.train)
    changed = written.with_overrides({"train.head.epochs": 3, "model.width": 2.0})
    assert (changed.train.head.epochs, changed.model.width) == (3, 2.0)
    assert written.train.head.epochs == params.train.head.epochs


@pytest.mark.parametrize("name", ["train.head", "train", "model.nothing", "train.loss.deeper"])
def test_an_override_of_what_is_no_value_is_refused(params, name):
    written = Hyperparameters(model=params.model, train=params.train)
    with pytest.raises(UserError, match="only values of model and train"):
        written.with_overrides({name: 1})
