"""The stage `train`: hyperparameters applied, history and model written, everything in MLflow."""

import threading

import numpy as np
import pandas as pd
import pytest

from components.calibration.effect import Effect
from components.calibration.scores import calibration
from components.errors import UserError
from components.model.classifier import predict
from components.model.model_file import model_id, read_classifier
from components.tracking.connection import client
from components.tracking.runs import Run, run_of_model
from pipelines import artifacts, train
from pipelines.formats import read_table, read_tree
from tests.pipelines.versioned import flip

WRITTEN = (artifacts.MODEL, artifacts.HISTORY, artifacts.CALIBRATION, artifacts.AUGMENTED)


def test_train_writes_model_and_history_and_tracks_every_epoch(prepared):
    train.run(prepared.model, prepared.train)

    history = pd.read_csv(artifacts.HISTORY)
    assert history["epoch"].tolist() == [1, 2]
    kept = history[history["kept"]]
    rule = prepared.train.early_stopping
    best = (
        history[rule.monitor].min() if rule.monitor == "val_loss" else history[rule.monitor].max()
    )
    assert kept[rule.monitor].tolist() == [best]
    classifier = read_classifier(artifacts.MODEL)
    assert classifier.class_names == tuple("0123456789")
    assert classifier.model.get_layer("dropout").rate == 0.4

    tracked = run_of_model(model_id(artifacts.MODEL))
    assert tracked is not None
    run = client().get_run(tracked.id)
    assert run.data.params["model.dropout"] == "0.4"
    assert run.data.params["train.seed"] == "17"
    statistics, plan = read_tree(artifacts.STATISTICS), read_tree(artifacts.PLAN)
    assert run.data.params["prepare.size"] == str(statistics["size"])
    assert run.data.params["prepare.resize"] == statistics["resize"]
    assert run.data.params["balance.strategy"] == plan["strategy"]
    losses = client().get_metric_history(tracked.id, "val_loss")
    assert [loss.value for loss in losses] == pytest.approx(history["val_loss"].tolist())
    assert run.data.metrics.keys() >= {"loss", "accuracy", "val_accuracy", "learning_rate"}
    assert run.data.metrics.keys() >= {"images_per_s", "waiting_share"}
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert not {"images_per_s", "waiting_share"} & set(history)  # They differ from run to run.

    effect = Effect.from_tree(read_tree(artifacts.CALIBRATION))
    scale = classifier.model.get_layer("temperature").scale
    assert scale == pytest.approx(1 / effect.temperature)
    assert effect.after.nll < effect.before.nll
    images = np.load(artifacts.images("val"))
    labels = read_table(artifacts.rows("val"))["label_index"].to_numpy()
    assert effect.val_images == len(labels)
    measured = calibration(labels, predict(classifier, images))
    assert measured.scores == pytest.approx(effect.after.scores, abs=1e-4)
    assert run.data.metrics["temperature"] == effect.temperature
    assert run.data.metrics["val_ece_after"] == effect.after.ece
    logged = {file.path for file in client().list_artifacts(tracked.id)}
    assert logged >= {"augmented.png", "calibration.json"}
    assert artifacts.AUGMENTED.read_bytes().startswith(b"\x89PNG")


def test_mirrored_views_without_mirrored_training_images_are_warned_of_at_once(prepared, caplog):
    mirrored = prepared.with_overrides({"model.views": "mirrored", "train.augmentation": "none"})
    artifacts.images("train").unlink()
    with pytest.raises(UserError):
        train.run(mirrored.model, mirrored.train)
    assert "train.augmentation mirrors no image" in caplog.text


def test_an_interrupted_training_goes_on_and_leaves_the_same_files(prepared):
    tuned = prepared.with_overrides({"model.logit_adjustment": "tuned"})
    train.run(tuned.model, tuned.train)
    first = [path.read_bytes() for path in WRITTEN]
    tau = read_tree(artifacts.CALIBRATION)["logit_adjustment"]["tau"]
    assert 0 <= tau <= 2
    log_metrics = Run.log_metrics

    def interrupt(*arguments, **named):
        log_metrics(*arguments, **named)
        # On a busy machine, the thread with the metrics of the system may come first.
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "log_metrics", interrupt)
        train.run(tuned.model, tuned.train)
    checkpoints = artifacts.STATE / "checkpoints"
    assert len(list(checkpoints.glob("*/*.checkpoint"))) == 1

    train.run(tuned.model, tuned.train)
    assert [path.read_bytes() for path in WRITTEN] == first
    assert [path.name for path in checkpoints.iterdir()] == ["last"]
    tracked = run_of_model(model_id(artifacts.MODEL))
    losses = client().get_metric_history(tracked.id, "val_loss")
    assert [loss.step for loss in losses] == [1, 2]
    assert client().get_run(tracked.id).data.metrics["tau"] == tau


@pytest.mark.parametrize("split", ["train", "val"])
def test_damaged_pixels_are_not_trained_on(prepared, split):
    flip(artifacts.images(split))
    with pytest.raises(UserError, match=f"{split}.images.npy is not the file"):
        train.run(prepared.model, prepared.train)
    assert not artifacts.MODEL.exists()


def test_a_training_that_fails_leaves_no_model_and_a_failed_run(prepared):
    wild = prepared.with_overrides({"train.finetune.learning_rate": 1e30})
    with pytest.raises(
        UserError,
        match=r"no longer a number in epoch 1 of the phase `finetune`, even with the learning rate "
        r"divided by 100; lower train\.finetune\.learning_rate",
    ):
        train.run(wild.model, wild.train)
    assert not artifacts.MODEL.exists()
    experiment = client().get_experiment_by_name("fovea")
    [run] = client().search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
