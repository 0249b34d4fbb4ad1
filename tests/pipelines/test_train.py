"""The stage `train`: hyperparameters applied, history and model written, everything in MLflow."""

import pandas as pd
import pytest

from components.errors import UserError
from components.model.model_file import model_id, read_classifier
from components.tracking.connection import client
from components.tracking.runs import Run, run_of_model
from pipelines import artifacts, train
from tests.pipelines.versioned import flip


def test_train_writes_model_and_history_and_tracks_every_epoch(prepared):
    train.run(prepared.model, prepared.train)

    history = pd.read_csv(artifacts.HISTORY)
    assert history["epoch"].tolist() == [1, 2]
    classifier = read_classifier(artifacts.MODEL)
    assert classifier.class_names == tuple("0123456789")
    assert classifier.model.get_layer("dropout").rate == 0.4

    tracked = run_of_model(model_id(artifacts.MODEL))
    assert tracked is not None
    run = client().get_run(tracked.id)
    assert run.data.params["model.dropout"] == "0.4"
    assert run.data.params["train.seed"] == "17"
    losses = client().get_metric_history(tracked.id, "val_loss")
    assert [loss.value for loss in losses] == pytest.approx(history["val_loss"].tolist())
    assert run.data.metrics.keys() >= {"loss", "accuracy", "val_accuracy", "learning_rate"}


def test_an_interrupted_training_goes_on_and_leaves_the_same_files(prepared):
    train.run(prepared.model, prepared.train)
    first = (artifacts.MODEL.read_bytes(), artifacts.HISTORY.read_bytes())
    log_metrics = Run.log_metrics

    def interrupt(*arguments, **named):
        log_metrics(*arguments, **named)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "log_metrics", interrupt)
        train.run(prepared.model, prepared.train)
    checkpoints = artifacts.STATE / "checkpoints"
    assert len(list(checkpoints.glob("*/*.checkpoint"))) == 1

    train.run(prepared.model, prepared.train)
    assert (artifacts.MODEL.read_bytes(), artifacts.HISTORY.read_bytes()) == first
    assert [path.name for path in checkpoints.iterdir()] == ["last"]
    tracked = run_of_model(model_id(artifacts.MODEL))
    losses = client().get_metric_history(tracked.id, "val_loss")
    assert [loss.step for loss in losses] == [1, 2]


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
