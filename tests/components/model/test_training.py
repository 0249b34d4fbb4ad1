"""Training on 36 images: reproducible, best epoch kept, phases as promised."""

import numpy as np
import pytest

from components.errors import UserError
from components.model.checkpoints import model_id, write_classifier
from components.model.classifier import predict
from components.model.training import balanced_accuracy, freeze, train_classifier


@pytest.fixture
def train_here(data, tmp_path):
    def train_here(hyperparameters, weights=None, seed=7, on_epoch=lambda row: None):
        return train_classifier(hyperparameters, data, weights, seed, on_epoch, tmp_path)

    return train_here


def test_the_same_seed_gives_the_same_bytes(hyperparameters, train_here, tmp_path):
    for name in ("one.keras", "two.keras"):
        write_classifier(tmp_path / name, train_here(hyperparameters).classifier)
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()


def test_another_seed_gives_other_weights(hyperparameters, train_here, data):
    one, two = (train_here(hyperparameters, seed=seed).classifier for seed in (7, 8))
    assert not np.array_equal(predict(one, data.val.inputs), predict(two, data.val.inputs))


def test_training_learns_to_tell_colours_apart(hyperparameters, train_here, data):
    longer = hyperparameters.overridden({"train.finetune.epochs": 12})
    classifier = train_here(longer).classifier
    predicted = predict(classifier, data.val.inputs).argmax(axis=1)
    assert np.mean(predicted == data.val.labels) > 0.9


def test_the_best_epoch_is_the_one_kept(hyperparameters, train_here, data):
    longer = hyperparameters.overridden(
        {"train.finetune.epochs": 5, "train.early_stopping.monitor": "val_accuracy"}
    )
    trained = train_here(longer)
    predicted = predict(trained.classifier, data.val.inputs).argmax(axis=1)
    kept = float(np.mean(predicted == data.val.labels))
    assert kept == max(row["val_accuracy"] for row in trained.history)
    assert trained.best["val_accuracy"] == kept


def test_patience_ends_a_phase_early(hyperparameters, train_here):
    stuck = hyperparameters.overridden(
        {
            "train.finetune.epochs": 30,
            "train.finetune.learning_rate": 1e-9,
            "train.early_stopping.monitor": "val_accuracy",
            "train.early_stopping.patience": 1,
        }
    )
    assert len(train_here(stuck).history) < 10


def test_without_weights_there_is_no_head_phase(hyperparameters, train_here):
    assert {row["phase"] for row in train_here(hyperparameters).history} == {"finetune"}


def test_a_warm_start_trains_the_head_first_and_keeps_what_was_learned(
    hyperparameters, train_here, data, tmp_path
):
    longer = hyperparameters.overridden({"train.finetune.epochs": 12})
    write_classifier(tmp_path / "first.keras", train_here(longer).classifier)
    warm = hyperparameters.overridden(
        {"model.weights": "first.keras", "train.head.epochs": 2, "train.finetune.epochs": 1}
    )
    trained = train_here(warm, weights=tmp_path / "first.keras", seed=8)
    assert [row["phase"] for row in trained.history] == ["head", "head", "finetune"]
    assert trained.history[0]["val_accuracy"] > 0.9
    assert trained.classifier.started_from == model_id(tmp_path / "first.keras")


def test_a_warm_start_from_another_architecture_is_refused(hyperparameters, train_here, tmp_path):
    write_classifier(tmp_path / "first.keras", train_here(hyperparameters).classifier)
    wider = hyperparameters.overridden({"model.width": 1.0, "model.weights": "first.keras"})
    with pytest.raises(UserError, match="of another backbone or width"):
        train_here(wider, weights=tmp_path / "first.keras")


def test_features_are_computed_once_and_kept(hyperparameters, train_here, tmp_path, capsys):
    write_classifier(tmp_path / "first.keras", train_here(hyperparameters).classifier)
    warm = hyperparameters.overridden({"model.weights": "first.keras", "train.head.epochs": 1})
    for _ in range(2):
        train_here(warm, weights=tmp_path / "first.keras")
    assert capsys.readouterr().out.count("features of 24 images") == 1


def test_a_loss_that_is_no_number_ends_training_with_advice(hyperparameters, train_here):
    wild = hyperparameters.overridden(
        {"train.finetune.learning_rate": 10.0, "train.finetune.epochs": 30, "train.weight_decay": 1}
    )
    wild = wild.model_copy(
        update={
            "train": wild.train.model_copy(
                update={"finetune": wild.train.finetune.model_copy(update={"learning_rate": 1e30})}
            )
        }
    )
    with pytest.raises(
        UserError, match=r"no longer a number.*lower train\.finetune\.learning_rate"
    ):
        train_here(wild)


def test_every_epoch_is_reported_as_it_ends(hyperparameters, train_here):
    seen = []
    trained = train_here(hyperparameters, on_epoch=seen.append)
    assert seen == list(trained.history)
    assert {"loss", "val_loss", "val_balanced_accuracy", "learning_rate"} <= seen[0].keys()


def test_freezing_leaves_the_upper_share_trainable(hyperparameters, train_here):
    backbone = train_here(hyperparameters).classifier.backbone
    freeze(backbone, 0.5, hold_normalization=True)
    trainable = {layer.name: layer.trainable for layer in backbone.layers if layer.weights}
    assert not trainable["stem"]
    assert trainable["stage3_block2_conv2"]
    assert not trainable["last_norm"]


def test_balanced_accuracy_is_the_mean_recall_of_classes_present():
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])
    assert balanced_accuracy(labels, predicted) == pytest.approx((2 / 3 + 1) / 2)
