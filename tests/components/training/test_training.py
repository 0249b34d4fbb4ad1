"""Training on 36 images: reproducible, best epoch kept, phases as promised."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from components.errors import UserError
from components.model import backbones
from components.model.backbones import build_backbone
from components.model.backend import seeded
from components.model.classifier import build_classifier, leaf_layers, predict
from components.model.features import FrozenBackbone
from components.model.model_file import model_id, read_classifier, write_classifier
from components.params.train import LastBlocks
from components.training import limits, starts, training
from components.training.blocks import freeze
from components.training.losses import build_loss
from components.training.optimizers import build_optimizer
from components.training.phases import Phase, phases
from components.training.starts import start_classifier
from components.training.training import train_classifier
from tests.components.training.conftest import without_speed


@pytest.fixture
def train_here(data, tmp_path):
    def train_here(hyperparameters, weights=None, seed=7, on_epoch=lambda row: None, data=data):
        seeded = hyperparameters.with_overrides({"train.seed": seed})
        return train_classifier(seeded, data, weights, on_epoch, tmp_path)

    return train_here


@dataclass(frozen=True)
class First:
    """A training that several tests look at: its file, its history, and the rows it reported."""

    file: Path
    history: tuple[dict, ...]
    reported: list[dict]


def train_first(hyperparameters, data, folder):
    rows = []
    trained = train_classifier(hyperparameters, data, None, rows.append, folder)
    write_classifier(folder / "first.keras", trained.classifier)
    return First(folder / "first.keras", trained.history, rows)


@pytest.fixture(scope="module")
def first(hyperparameters, data, tmp_path_factory):
    """Two epochs with seed 7: every training costs seconds of compilation."""
    return train_first(hyperparameters, data, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def learned(hyperparameters, data, tmp_path_factory):
    """Twelve epochs, which are enough to tell three colours apart."""
    longer = hyperparameters.with_overrides({"train.finetune.epochs": 12})
    return train_first(longer, data, tmp_path_factory.mktemp("learned"))


def test_the_same_seed_gives_the_same_bytes(hyperparameters, train_here, first, tmp_path):
    write_classifier(tmp_path / "second.keras", train_here(hyperparameters).classifier)
    assert (tmp_path / "second.keras").read_bytes() == first.file.read_bytes()


def test_random_numbers_of_other_threads_change_no_weight(hyperparameters, data, monkeypatch):
    undisturbed = start_classifier(hyperparameters, data, None).model.get_weights()

    def disturbed(*arguments):
        random.random()  # as the waits between two requests to an MLflow that does not answer
        return build_backbone(*arguments)

    monkeypatch.setattr(starts, "build_backbone", disturbed)
    weights = start_classifier(hyperparameters, data, None).model.get_weights()
    for ours, theirs in zip(weights, undisturbed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_rules_of_decoding_are_part_of_the_classifier(first, data):
    read = read_classifier(first.file)
    assert read.sixteen_bit == data.sixteen_bit == "stretch"
    assert read.decode == data.decode == {"alpha": "drop"}


def test_another_seed_gives_other_weights(hyperparameters, train_here, first, data):
    one, two = read_classifier(first.file), train_here(hyperparameters, seed=8).classifier
    assert not np.array_equal(predict(one, data.val.inputs), predict(two, data.val.inputs))


def test_training_learns_to_tell_colours_apart(learned, data):
    predicted = predict(read_classifier(learned.file), data.val.inputs).argmax(axis=1)
    assert np.mean(predicted == data.val.labels) > 0.9


@pytest.fixture
def scripted(monkeypatch):
    """Let validation measure what a test says, epoch by epoch, and keep the weights of each."""
    seen = []

    def script(*losses):
        values = iter(losses)

        def measure(model, val, loss):
            seen.append([weight.copy() for weight in model.get_weights()])
            others = ("val_accuracy", "val_balanced_accuracy", "val_macro_f1")
            return dict.fromkeys(others, 0.5) | {"val_loss": next(values)}

        monkeypatch.setattr(training, "measure", measure)
        return seen

    return script


def test_the_best_epoch_is_the_one_kept(hyperparameters, train_here, scripted):
    seen = scripted(1.0, 0.5, 2.0, 3.0)
    trained = train_here(hyperparameters.with_overrides({"train.finetune.epochs": 4}))
    assert trained.best["epoch"] == 2
    for kept, measured in zip(trained.classifier.model.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(kept, measured)


def test_fine_tuning_that_harms_is_undone(hyperparameters, train_here, scripted, first):
    source = read_classifier(first.file).backbone.get_weights()
    warm = hyperparameters.with_overrides(
        {"model.weights": "data/weights/first.keras", "train.head.epochs": 1}
    )
    scripted(0.5, 1.0, 2.0)
    trained = train_here(warm, weights=first.file)
    assert [row["phase"] for row in trained.history] == ["head", "finetune", "finetune"]
    assert trained.best["phase"] == "head"
    for kept, before in zip(trained.classifier.backbone.get_weights(), source, strict=True):
        np.testing.assert_array_equal(kept, before)


def test_patience_counts_epochs_without_improvement(hyperparameters, train_here, scripted):
    scripted(1.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    patient = {"train.finetune.epochs": 6, "train.early_stopping.patience": 3}
    assert len(train_here(hyperparameters.with_overrides(patient)).history) == 4


def test_fine_tuning_holds_batch_normalisation_and_trains_the_rest(
    hyperparameters, train_here, first
):
    before = {w.path: w.numpy() for w in read_classifier(first.file).backbone.weights}
    warm = hyperparameters.with_overrides(
        {"model.weights": "data/weights/first.keras", "train.head.epochs": 0}
    )
    after = train_here(warm, weights=first.file).classifier.backbone.weights
    changed = {w.path for w in after if not np.array_equal(before[w.path], w.numpy())}
    assert changed
    assert not {path for path in changed if "norm" in path}


def test_class_weights_reach_the_loss(hyperparameters, train_here, first, data):
    def first_loss(*weights):
        balance = replace(data.balance, class_weights=np.array(weights, np.float32))
        once = hyperparameters.with_overrides({"train.finetune.epochs": 1})
        return train_here(once, data=replace(data, balance=balance)).history[0]["loss"]

    assert first_loss(0, 0, 0) == 0
    assert 0 < first_loss(1, 0, 0) < first.history[0]["loss"]


def test_smote_makes_features_for_the_head_and_no_images(hyperparameters, first, data, tmp_path):
    smote = replace(data.balance, strategy="smote", targets=np.array([12, 12, 12]))
    head, finetune = phases(
        *(read_classifier(first.file), replace(data, balance=smote), hyperparameters.train),
        *(True, tmp_path, ()),
    )
    assert (len(data.train), len(head.train), len(finetune.train)) == (24, 36, 24)
    assert np.bincount(head.train.labels).tolist() == [12, 12, 12]
    assert len(head.val) == len(data.val)


@pytest.mark.slow
def test_the_class_balanced_loss_weighs_the_images(hyperparameters, train_here, data):
    tiny = np.full(3, 1e-6, np.float32)
    balance = replace(data.balance, class_balanced_weights=tiny)
    once = {"train.finetune.epochs": 1, "train.loss": "class_balanced_focal"}
    trained = train_here(hyperparameters.with_overrides(once), data=replace(data, balance=balance))
    assert 0 < trained.history[0]["loss"] < 1e-5


def test_the_rate_rises_and_then_falls_to_0(phase, train):
    rate = build_optimizer(phase, train, steps=10)._learning_rate
    rates = [float(rate(step)) for step in range(101)]
    assert rates[0] == 0
    assert rates[20] == pytest.approx(0.01) == max(rates)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_weights_change_once_for_all_accumulated_batches_by_their_mean_gradient(phase, train):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    [kernel] = network.trainable_variables
    seen = [kernel.numpy()]
    twice = train.model_copy(update={"accumulate": 2})
    optimizer = build_optimizer(replace(phase, warmup=0.0), twice, steps=10)
    for gradient in ([[1.0], [1.0], [1.0]], [[1.0], [-3.0], [-1.0]]):
        optimizer.apply([np.array(gradient, np.float32)], network.trainable_variables)
        seen.append(kernel.numpy())
    np.testing.assert_array_equal(seen[0], seen[1])
    # The means are 1, -1 and 0. The first update of Adam is the rate times the sign.
    rate = seen[1][0, 0] - seen[2][0, 0]
    assert 0.009 < rate <= 0.01
    np.testing.assert_allclose(seen[1] - seen[2], [[rate], [-rate], [0.0]], atol=1e-6)


def test_mixed_precision_changes_the_training_and_not_the_kind_of_model(
    hyperparameters, train_here, first, data, tmp_path
):
    mixed = train_here(hyperparameters.with_overrides({"train.precision": "mixed"}))
    rows = [row["loss"] for row in mixed.history], [row["loss"] for row in first.history]
    assert rows[0] != rows[1]
    assert rows[0] == pytest.approx(rows[1], rel=0.05)
    write_classifier(tmp_path / "mixed.keras", mixed.classifier)
    read = read_classifier(tmp_path / "mixed.keras")
    policies = {layer.compute_dtype for layer in leaf_layers(read.model)}
    assert (policies, {weight.dtype for weight in read.model.weights}) == ({"float32"}, {"float32"})
    here = predict(mixed.classifier, data.val.inputs)
    np.testing.assert_array_equal(predict(read, data.val.inputs), here)


def test_more_views_than_the_store_may_have_are_refused_before_they_are_computed(
    hyperparameters, train_here, first, monkeypatch
):
    width = read_classifier(first.file).backbone.output_shape[-1]
    monkeypatch.setattr(limits, "LIMIT_BYTES", 24 * width * 4 * 3)  # 24 images, 3 variants
    monkeypatch.setattr(training, "phases", lambda *_: iter(()))
    warm = hyperparameters.with_overrides(
        {"model.weights": "data/weights/first.keras", "train.head.views": 3}
    )
    sentence = (
        r"lower train\.head\.views to at most 2\. "
        rf"Received: train\.head\.views: 3, 24 images with {width} features each$"
    )
    with pytest.raises(limits.TrainingFailedError, match=sentence):
        train_here(warm, weights=first.file)


@pytest.mark.parametrize(
    ("views", "sentence"),
    [
        (
            0,
            r"multiply train\.accumulate .* "
            r"Received: train\.batch_size: 12, train\.accumulate: 1$",
        ),
        (2, r"lower train\.head\.views\. Received: train\.head\.views: 2$"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),  # as a device says it
        MemoryError("Unable to allocate 9. GiB for an array"),  # as NumPy says it
    ],
    ids=["device", "batch"],
)
def test_what_does_not_fit_is_answered_with_what_to_lower(
    error, views, sentence, hyperparameters, train_here, monkeypatch
):
    def fail(*_):
        raise error

    monkeypatch.setattr(training, "_run_phase", fail)
    with pytest.raises(limits.TrainingFailedError, match=sentence):
        train_here(hyperparameters.with_overrides({"train.head.views": views}))


def test_an_update_that_needs_more_batches_than_an_epoch_is_refused_before_training(
    hyperparameters, train_here, monkeypatch
):
    monkeypatch.setattr(training, "_run_phase", lambda *_: pytest.fail("training began"))
    sentence = (
        r"^train\.accumulate: .* write at most 2, .*"
        r"Received: train\.accumulate: 3, train\.batch_size: 12, batches in an epoch: 2$"
    )
    with pytest.raises(limits.TrainingFailedError, match=sentence):
        train_here(hyperparameters.with_overrides({"train.accumulate": 3}))
    limits.check_updates(hyperparameters.train.model_copy(update={"accumulate": 2}), steps=2)


def test_a_batch_that_no_memory_can_hold_is_refused_before_it_is_made(
    hyperparameters, train_here, caplog
):
    sentence = r"a batch does not fit .* Received: train\.batch_size: 1000000000,"
    with pytest.raises(limits.TrainingFailedError, match=sentence):
        train_here(hyperparameters.with_overrides({"train.batch_size": 1_000_000_000}))
    assert "a batch has more images than an epoch, which has 24, so" in caplog.text


def test_weights_decay_and_biases_and_scales_do_not(phase, train):
    import keras

    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )
    network.layers[0].bias.assign([1.0, 1.0])
    before = {variable.name: variable.numpy() for variable in network.trainable_variables}
    decaying = train.model_copy(update={"weight_decay": 0.5})
    optimizer = build_optimizer(replace(phase, warmup=0.0), decaying, steps=10)
    still = [np.zeros_like(value) for value in before.values()]
    optimizer.apply(still, network.trainable_variables)
    after = {variable.name: variable.numpy() for variable in network.trainable_variables}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"kernel"}


@pytest.fixture
def train(hyperparameters):
    return hyperparameters.train.model_copy(update={"weight_decay": 0.0})


@pytest.fixture
def phase(data):
    return Phase("finetune", None, data.train, data.val, 10, 0.01, 0.2, None, False)


def test_patience_ends_a_phase_early(hyperparameters, train_here):
    stuck = hyperparameters.with_overrides(
        {
            "train.finetune.epochs": 30,
            "train.finetune.learning_rate": 1e-9,
            "train.early_stopping.monitor": "val_accuracy",
            "train.early_stopping.patience": 1,
        }
    )
    assert len(train_here(stuck).history) < 10


def test_without_weights_there_is_no_head_phase(first):
    assert {row["phase"] for row in first.history} == {"finetune"}


def test_a_warm_start_trains_the_head_first_and_keeps_what_was_learned(
    hyperparameters, train_here, learned
):
    warm = hyperparameters.with_overrides(
        {
            "model.weights": "data/weights/first.keras",
            "train.head.epochs": 2,
            "train.finetune.epochs": 1,
        }
    )
    trained = train_here(warm, weights=learned.file, seed=8)
    assert [row["phase"] for row in trained.history] == ["head", "head", "finetune"]
    assert trained.history[0]["val_accuracy"] > 0.9
    assert trained.classifier.started_from == model_id(learned.file)


def test_a_warm_start_from_another_architecture_is_refused(hyperparameters, train_here, first):
    wider = hyperparameters.with_overrides(
        {"model.width": 1.0, "model.weights": "data/weights/first.keras"}
    )
    with pytest.raises(UserError, match="with another backbone, width or size"):
        train_here(wider, weights=first.file)


def test_features_are_computed_once_and_kept(hyperparameters, train_here, first, data, tmp_path):
    warm = hyperparameters.with_overrides(
        {
            "model.weights": "data/weights/first.keras",
            "train.head.epochs": 1,
            "train.head.views": 1,
            "train.finetune.epochs": 0,
        }
    )

    def kept_after(**changes):
        train_here(warm, weights=first.file, **changes)
        return {path.name: path.stat().st_ino for path in tmp_path.rglob("*.npy")}

    kept = kept_after()
    assert len(kept) == 3  # train, view 1 of train, val
    assert kept_after() == kept
    darker = data.val.inputs.copy()
    darker[0] //= 2
    changed = replace(data, val=replace(data.val, inputs=darker))
    assert len(kept_after(data=changed).keys() - kept.keys()) == 1


def test_a_backbone_that_scales_pixels_otherwise_has_other_features(
    hyperparameters, train_here, data, tmp_path, monkeypatch
):
    warm = hyperparameters.with_overrides({"model.weights": "data/weights/first.keras"})
    build = backbones.scale_pixels
    keys = set()
    for pixels in ("signed", "included"):
        monkeypatch.setattr(
            backbones, "scale_pixels", lambda images, _, how=pixels: build(images, how)
        )
        keras.backend.clear_session()
        with seeded(1):
            classifier = build_classifier(warm.model, data.class_names, 8, "squash")
        FrozenBackbone(classifier, tmp_path).features(data.val)
        keys = {path.parent.name for path in tmp_path.rglob("*.npy")}
    assert len(keys) == 2


def test_a_loss_that_is_no_number_ends_training_with_advice(hyperparameters, train_here):
    wild = hyperparameters.with_overrides(
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


def test_every_epoch_is_reported_as_it_ends(first):
    assert [without_speed(row) for row in first.reported] == list(first.history)
    assert all(row["images_per_s"] > 0 for row in first.reported)
    assert all(0 <= row["waiting_share"] <= 1 for row in first.reported)
    assert len(first.reported) == 2
    assert {"loss", "val_loss", "val_balanced_accuracy", "learning_rate"} <= first.history[0].keys()


def test_freezing_leaves_the_last_block_trainable(first):
    backbone = read_classifier(first.file).backbone
    freeze(backbone, LastBlocks(last_blocks=1), hold_normalization=True)
    trainable = {layer.name: layer.trainable for layer in backbone.layers if layer.weights}
    assert [name for name, moves in trainable.items() if moves] == ["block2_conv"]


@pytest.mark.parametrize(
    ("devices", "machines", "backend", "refused"),
    [
        (2, 1, "tensorflow", ["train.average.ema", "train.clip_norm"]),
        (2, 1, "jax", []),
        (4, 2, "jax", ["train.average.ema"]),
        (1, 1, "tensorflow", []),
    ],
)
def test_what_several_devices_cannot_do_is_refused(
    devices, machines, backend, refused, hyperparameters, monkeypatch
):
    monkeypatch.setattr(limits, "backend", lambda: backend)
    for name, value in (("train.average.ema", 0.9), ("train.clip_norm", 1.0)):
        train = hyperparameters.with_overrides({name: value}).train
        if name in refused:
            with pytest.raises(UserError, match=rf"{name} is not possible.*{value}, {devices} dev"):
                limits.check_several(train, devices, machines)
        else:
            limits.check_several(train, devices, machines)


def test_tensorflow_compiles_the_step_of_fine_tuning_once(hyperparameters, train_here, monkeypatch):
    import tensorflow as tf

    compiled = []

    def counted(*arguments):
        loss = build_loss(*arguments)

        def count(labels, logits):
            compiled.extend([loss] if tf.inside_function() else [])
            return loss(labels, logits)

        return count

    monkeypatch.setattr(training, "build_loss", counted)
    train_here(hyperparameters.with_overrides({"train.finetune.epochs": 1}))
    assert len(compiled) == 1
