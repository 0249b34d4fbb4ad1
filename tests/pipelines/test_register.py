import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.errors import UserError
from components.evaluation.interval import Interval
from components.evaluation.slices import Slice, Slices
from components.files import sha256
from components.images.png_writer import encode_png
from components.model.backend import load_keras
from components.pages.markdown import GAP
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from components.params.register import Card, Floors
from components.registry import promotion
from components.registry.blessing import Blessing
from components.registry.promotion import promote, reject, rollback
from components.registry.seen import Seen, pixel_hashes
from components.registry.seen_store import keep_seen, seen_by
from components.registry.standing import history
from components.registry.versions import challenger, champion, find_version, versions
from components.tracking.connection import client
from components.tracking.runs import NOTE, run_of_model
from pipelines import artifacts, balance, prepare, register, split, train
from pipelines import evaluate as evaluate_stage
from pipelines.commands.review import judge_here
from pipelines.formats import read_table, read_tree, write_table, write_text, write_tree
from pipelines.register import judge_again
from tests.cards import DIGITS
from tests.components.origins import ORIGIN
from tests.components.pages.outline import Outline
from tests.components.splits.split_tables import links_of
from tests.pipelines.versioned import flip

NAMES = ("bright", "dark")
SIZE = 8
OUTS = (artifacts.VERDICT, artifacts.REGISTER_REPORT, artifacts.MODEL_CARD)
IMAGES = 60
OTHERS = {f"other/{number}.png": ("train", "val")[number % 5 == 0] for number in range(100)}


def write_model(
    slope: float,
    names: Sequence[str] = NAMES,
    size: int = SIZE,
    sixteen_bit: str | dict[str, dict[str, int]] = "high_byte",
    started_from: str = "none",
    resize: str = "squash",
    decode: dict[str, object] | None = None,
) -> None:
    """Write a classifier that calls images bright above grey; it is right where slope > 0."""
    load_keras()
    import keras

    from components.model.classifier import Classifier
    from components.model.model_file import write_classifier

    pixels = keras.Input((size, size, 3), dtype="uint8")
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels))
    head = keras.layers.Dense(len(names), activation="softmax")
    model = keras.Model(pixels, head(hidden))
    signs = np.array([{"bright": 1, "dark": -1}.get(name, 0) for name in names])
    head.set_weights([np.tile(slope * signs, (3, 1)), np.zeros(len(names))])
    classifier = Classifier(model, tuple(names), size, resize, started_from, sixteen_bit, decode)
    write_classifier(artifacts.MODEL, classifier)


def evaluate(weak: Sequence[str] = ()) -> None:
    """Leave what `evaluate` leaves, by the model as it is. weak: the names of the weak slices."""
    from components.evaluation.predictions import predictions
    from components.model.classifier import predict
    from components.model.model_file import read_classifier
    from components.training_set.pixels import read_images

    rows = read_table(artifacts.rows("test"))
    probabilities = predict(read_classifier(artifacts.MODEL), read_images(artifacts.images("test")))
    write_table(artifacts.PREDICTIONS, predictions(rows, probabilities, NAMES))
    slices = [
        Slice(name, name, 40, Interval(0.5, 0.35, 0.65), 0.5, 0.5, p, weak=name in weak)
        for name, p in {"small": 1.0, **dict.fromkeys(weak, 0.001)}.items()
    ]
    write_table(artifacts.SLICES, Slices(tuple(slices), len(slices), 0).table())


def write_test_images() -> None:
    """Leave what earlier stages leave of a test split and 100 other images, and the test images."""
    labels = np.arange(IMAGES) % 2
    noise = np.random.default_rng(0).integers(0, 100, (IMAGES, SIZE, SIZE, 3))
    images = (noise + 120 * (1 - labels)[:, None, None, None]).astype(np.uint8)
    rows = []
    for number, (label, pixels) in enumerate(zip(labels, images, strict=True)):
        path, content = f"{NAMES[label]}/{number:02d}.png", encode_png(pixels)
        file = artifacts.RAW / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        image_id = hashlib.sha256(content).hexdigest()
        rows.append((path, NAMES[label], image_id, label))
    table = pd.DataFrame(rows, columns=["path", "label", "image_id", "label_index"])
    write_table(artifacts.rows("test"), table)
    write_splits({**dict.fromkeys(table["path"], "test"), **OTHERS})
    write_table(artifacts.DUPLICATES, links_of([]))
    np.save(artifacts.images("test"), images)
    write_text(artifacts.VALIDATION_PAGE, "<p>the data</p>")
    statistics = {"class_names": list(NAMES), "data_id": "d" * 64, "split_id": "e" * 64}
    half = dict.fromkeys(NAMES, IMAGES // 2)
    statistics["counts"] = {"train": {"bright": 40, "dark": 40}, "val": {"dark": 20}, "test": half}
    statistics["pixels"] = {"test": sha256(artifacts.images("test"))}
    write_tree(artifacts.STATISTICS, statistics)


def write_splits(split_of: Mapping[str, str]) -> None:
    """Leave a manifest of these paths, in which every image has pixels of its own, and splits."""
    ids = [hashlib.sha256(path.encode()).hexdigest() for path in split_of]
    images = pd.DataFrame({"path": list(split_of), "pixels_id": ids, "group": None})
    write_table(artifacts.MANIFEST, images)
    write_table(artifacts.SPLITS, images.assign(split=list(split_of.values())))


@pytest.fixture(autouse=True)
def _blessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bless every version. test_blessing.py serves them: the process takes seconds to start."""
    monkeypatch.setattr(register, "version_server", lambda: nullcontext("no process"))
    monkeypatch.setattr(register, "bless", lambda *given: Blessing())


@pytest.fixture
def workspace(folder_with_store: Path) -> Path:
    Path("data/prepare").mkdir(parents=True)
    write_test_images()
    return folder_with_store


def run(
    params: Params, how: str = "manual", size: int = SIZE, weak: Sequence[str] = ()
) -> dict[str, object]:
    """Run the stage after the model was written, and return its verdict."""
    evaluate(weak)
    section = params.register_.model_copy(update={"promote": how, "resamples": 200})
    prepare = params.prepare.model_copy(update={"size": size})
    register.run(params.ingest, prepare, section)
    found: dict[str, object] = json.loads(artifacts.VERDICT.read_text())
    return found


def page() -> Outline:
    """The register report."""
    outline = Outline(artifacts.REGISTER_REPORT.read_text())
    assert outline.open == []
    return outline


def reigning() -> int | None:
    version = champion("digits")
    return version.number if version else None


def test_the_first_good_model_becomes_version_1_and_challenger(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    verdict = run(params)
    assert (verdict["decision"], verdict["version"], verdict["champion"]) == ("promote", 1, None)
    version = find_version("digits", "challenger")
    assert version.number == 1
    assert version.tags["split_id"] == "e" * 64
    assert version.tags["verdict"] == "promote"
    assert reigning() is None


def test_the_run_of_the_model_has_the_verdict(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    tracked = run_of_model(sha256(artifacts.MODEL))
    assert tracked is not None
    folder = "1-register-report/digits"
    assert tracked.read_text(f"{folder}/verdict.json") == artifacts.VERDICT.read_text()
    assert tracked.read_text(f"{folder}/report.html") == artifacts.REGISTER_REPORT.read_text()
    card = tracked.read_text("4-model-card/digits/model_card.md")
    assert card == artifacts.MODEL_CARD.read_text()
    top = [file.path for file in client().list_artifacts(tracked.id)]
    assert top == ["1-register-report", "3-data-report", "4-model-card"]
    assert "No slice of the test images is surely weaker" in page().section("slices")
    tags = client().get_run(tracked.id).data.tags
    assert tags["registered"] == "digits/1"
    assert "Registered as [version 1 of digits](#/models/digits/versions/1)." in tags[NOTE]
    described = find_version("digits", "1").description
    for link in (
        f"[Register report]({tracked.route(folder)}/report.html)",
        f"[Data report]({tracked.route('3-data-report')}/report.html)",
        f"[Model card]({tracked.route('4-model-card/digits')}/model_card.md)",
    ):
        assert link in tags[NOTE]
        assert link in described
    assert "Test report" not in described  # this run has none
    classes = json.loads(tracked.read_text(f"{folder}/classes.json") or "")
    assert [row[:3] for row in classes["data"]] == [["bright", 30, 1.0], ["dark", 30, 1.0]]
    assert classes["columns"] == ["class", "test images", "recall", "recall low", "recall high"]
    assert "**Verdict: promote**: there is no champion" in described
    assert f"| accuracy{GAP} | 1.000 (" in described
    assert described.startswith("Challenger: it waits for a decision.")


def test_a_second_run_registers_nothing_new_and_writes_the_same_bytes(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    run(params)
    before = [file.read_bytes() for file in OUTS]
    run(params)
    assert [file.read_bytes() for file in OUTS] == before
    assert len(versions("digits")) == 1


def test_the_verdict_names_the_model_and_the_store(workspace: Path, params: Params) -> None:
    write_model(5.0)
    verdict = run(params)
    assert verdict["model_id"] == sha256(artifacts.MODEL) == find_version("digits", "1").model_id
    assert verdict["store"] == "sqlite:///mlflow.db"


def test_a_model_that_comes_back_is_the_challenger_again_by_verdict_and_by_alias(
    workspace: Path, params: Params
) -> None:
    files, numbers = [], []
    for slope in (3.0, 4.0):
        write_model(slope)
        files.append(artifacts.MODEL.read_bytes())
    for file in (files[0], files[1], files[0]):  # as `dvc repro` with 3, 4 and 3 epochs
        artifacts.MODEL.write_bytes(file)
        verdict = run(params)
        proposed = challenger("digits")
        assert proposed is not None
        assert (proposed.number, proposed.model_id) == (verdict["version"], verdict["model_id"])
        numbers.append(verdict["version"])
    assert numbers == [1, 2, 1]


def test_what_people_write_into_params_and_mlflow_stays(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    number = "1"
    written = f"Ann's words.\n\n{find_version('digits', number).description}"
    client().update_model_version("digits", number, written)
    card = Card(intended_use="Sorts **waste**.", limits="")
    run(params.model_copy(update={"register_": params.register_.model_copy(update={"card": card})}))
    assert find_version("digits", number).description == written
    assert "## Intended use\n\nSorts **waste**.\n" in artifacts.MODEL_CARD.read_text()
    assert "below `register.card.limits` in params.yaml" in artifacts.MODEL_CARD.read_text()


def test_a_second_run_changes_no_lineage(workspace: Path, params: Params) -> None:
    write_model(4.0)
    run(params)
    promote("digits", "1", "first", "Ann")
    write_model(5.0)
    run(params)
    before = dict(find_version("digits", "2").tags)
    facts = read_tree(artifacts.STATISTICS)
    write_tree(artifacts.STATISTICS, {**facts, "data_id": "f" * 64})
    Path("params.yaml").write_text("seed: 7\n")
    client().delete_registered_model_alias("digits", "champion")
    run(params)
    after = find_version("digits", "2").tags
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"verdict", "reasons", "compared_with"}
    assert after.keys() == before.keys()


def test_another_store_gets_a_version_of_its_own(
    workspace: Path, params: Params, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slope in (4.0, 5.0):
        write_model(slope)
        run(params)
    shutil.copy(empty_store, "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    verdict = run(params)
    assert (verdict["version"], verdict["store"]) == (1, "sqlite:///other.db")
    assert find_version("digits", "challenger").model_id == verdict["model_id"]


def test_a_deleted_model_is_registered_again(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    client().delete_registered_model("digits")
    assert run(params)["version"] == 1
    assert find_version("digits", "challenger").number == 1


def test_a_stage_that_fails_leaves_no_verdict_on_an_earlier_model(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    run(params)
    flip(artifacts.images("test"))
    with pytest.raises(UserError):
        run(params)
    assert not any(file.exists() for file in OUTS)


def test_an_experiment_is_judged_and_registers_nothing(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(0.0)  # calls everything bright
    register_as_it_is(params, 2, SIZE)
    promote("digits", "1", "first", "Ann", override=True)
    write_model(4.0)
    run(params)
    write_model(5.0)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    verdict = run(params, "auto")
    assert (verdict["decision"], verdict["version"], verdict["champion"]) == ("promote", None, 1)
    assert "dvc exp apply EXPERIMENT && fovea register" in page().text
    assert "champion, version 1" in page().section("figures")
    assert artifacts.MODEL_CARD.read_text().startswith("# Model card: a model without a version")
    assert [each.aliases for each in versions("digits")] == [("champion",), ("challenger",)]
    assert run_of_model(sha256(artifacts.MODEL)) is None
    monkeypatch.delenv("DVC_EXP_NAME")
    assert run(params)["version"] == 3
    assert find_version("digits", "challenger").number == 3


def test_a_verdict_counts_the_experiments_before_it(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(0.0)
    register_as_it_is(params, 2, SIZE)
    promote("digits", "1", "first", "Ann", override=True)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    for slope in (4.0, 4.1, 4.2, 5.0):
        write_model(slope)
        verdict = run(params)
    before = "3 comparisons on this test split before this one, so p must be at most 0.0063"
    assert before in str(verdict["reasons"])
    monkeypatch.delenv("DVC_EXP_NAME")  # dvc exp apply; fovea register
    assert run(params)["reasons"] == verdict["reasons"]
    client().delete_model_version("digits", "2")
    write_model(4.3)
    assert "4 comparisons on this test split before this one" in str(run(params)["reasons"])


def test_an_experiment_names_the_version_that_its_model_has(
    workspace: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(5.0)
    first = artifacts.MODEL.read_bytes()
    run(params)
    write_model(4.0)
    run(params)
    artifacts.MODEL.write_bytes(first)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-unau")
    assert run(params)["version"] == 1
    assert find_version("digits", "challenger").number == 2


def test_the_verdict_holds_no_time_run_or_path(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    text = "".join(file.read_text() for file in OUTS)
    tracked = run_of_model(sha256(artifacts.MODEL))
    assert tracked is not None
    assert tracked.id not in text
    assert str(workspace) not in text


def test_auto_promotes_a_better_model_and_never_a_worse_one(
    workspace: Path, params: Params
) -> None:
    write_model(0.0)  # calls everything bright
    floors = params.register_.floors.model_copy(
        update={"accuracy": 0.0, "balanced_accuracy": 0.0, "recall": 0.0}
    )
    lenient = params.model_copy(
        update={"register_": params.register_.model_copy(update={"floors": floors})}
    )
    assert run(lenient, "auto")["decision"] == "promote"
    write_model(5.0)
    verdict = run(lenient, "auto")
    assert (verdict["decision"], verdict["champion"], reigning()) == ("promote", 1, 2)
    write_model(-5.0)
    assert run(lenient, "auto")["decision"] == "reject"
    assert "60 images lost, 0 images gained" in page().section("changed")
    assert "36 more images are left out" in page().section("worse")
    assert page().section("worse").count("challenger: ") == 24
    assert reigning() == 2


def test_auto_leaves_a_version_that_a_reviewer_took_back(workspace: Path, params: Params) -> None:
    write_model(0.1)
    run(params)
    promote("digits", "1", "first", "Ann")
    write_model(5.0)
    run(params)
    promote("digits", "2", "second", "Ann", override=True)
    rollback("digits", "wrong alarms", "Ann")
    run(params, "auto")
    assert reigning() == 1


def interrupted(decide: Callable[[], object], step: str) -> None:
    """Decide in a process that is killed at this step of the decision."""
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(promotion, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        decide()


def test_an_interrupted_promotion_is_finished_by_the_stage_before_it_judges(
    workspace: Path, card: Params
) -> None:
    write_model(4.0)
    run(card)
    interrupted(lambda: promote("digits", "2", "better", "Ann"), "_follow")
    assert reigning() == 1
    write_model(5.0)
    verdict = run(card, "auto")
    assert (verdict["champion"], verdict["version"], reigning()) == (2, 3, 2)


def test_the_stage_finishes_its_own_interrupted_promotion(workspace: Path, card: Params) -> None:
    write_model(5.0)
    interrupted(lambda: run(card, "auto"), "_follow")
    assert reigning() == 1
    assert run(card, "auto")["reasons"] == ["this model is the champion already, as version 2"]
    assert (reigning(), find_version("digits", "2").aliases) == (2, ("champion",))


def test_auto_leaves_a_rejection_whose_process_was_killed(workspace: Path, card: Params) -> None:
    write_model(5.0)
    run(card)
    interrupted(lambda: reject("digits", "2", "a leak", "Ann"), "release_challenger")
    assert run(card, "auto")["decision"] == "promote"
    assert (reigning(), find_version("digits", "2").tags["review"]) == (1, "rejected")
    assert challenger("digits") is None


def test_a_decision_while_the_stage_runs_is_no_failure_of_the_stage(
    workspace: Path, card: Params, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    caplog.set_level("INFO")
    write_model(4.0)
    run(card)
    write_model(5.0)
    keep = register.keep_seen

    def decide_meanwhile(*given: Any) -> None:
        keep(*given)
        promote("digits", "2", "quicker", "Bob")

    monkeypatch.setattr(register, "keep_seen", decide_meanwhile)
    assert run(card, "auto")["decision"] == "promote"
    assert reigning() == 2
    (said,) = {line for line in caplog.messages if line.startswith("not promoted: ")}
    # The stage compared it with the new champion, and the two are right on the same images.
    assert said.startswith("not promoted: its verdict is hold (no significant difference")
    assert find_version("digits", "3").tags["compared_with"] == "2"


def test_a_version_whose_run_was_deleted_is_judged_again(
    workspace: Path, card: Params, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    write_model(5.0)
    run(card)
    client().delete_run(find_version("digits", "2").run.id)
    assert judge_again(find_version("digits", "2"), "digits", None) is not None
    assert find_version("digits", "2").tags["compared_with"] == "none"
    said = "the MLflow run of version 2 of digits was deleted: the verdict is only in the tags"
    assert said in caplog.text
    assert run(card)["version"] == 2


def test_damaged_pixels_stop_the_stage_and_register_nothing(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    flip(artifacts.images("test"))
    with pytest.raises(UserError, match=r"test\.images\.npy is not the file"):
        run(params)
    assert not any(file.exists() for file in OUTS)
    assert versions("digits") == ()


def test_the_champion_itself_is_held(workspace: Path, params: Params) -> None:
    write_model(5.0)
    run(params)
    promote("digits", "1", "first", "Ann")
    verdict = run(params, "auto")
    assert verdict["decision"] == "hold"
    assert verdict["reasons"] == ["this model is the champion already, as version 1"]
    assert "Nothing to decide" in page().text
    assert "**Verdict: promote**" in find_version("digits", "1").description
    # The record still says why the version was promoted.
    assert find_version("digits", "1").tags["verdict"] == "promote"


@pytest.mark.parametrize(
    ("names", "size"),
    [(("dark", "bright"), SIZE), (("bright", "dark", "foggy"), SIZE), (NAMES, 16)],
    ids=["other class order", "a class that is no more", "other size"],
)
def test_a_champion_of_another_shape_is_scored_on_the_same_images(
    workspace: Path, params: Params, names: tuple[str, ...], size: int
) -> None:
    write_model(5.0)
    run(params)
    challenger_file = artifacts.MODEL.read_bytes()
    write_model(4.0, names, size)
    promoted = register_as_it_is(params, len(names), size)
    promote("digits", str(promoted), "of another shape", "Ann", override=True)
    artifacts.MODEL.write_bytes(challenger_file)
    verdict = run(params)
    accuracy = verdict["comparison"][0]  # type: ignore[index]
    assert (accuracy["metric"], accuracy["champion"]["value"]) == ("accuracy", 1.0)
    assert verdict["decision"] == "hold"


WINDOW = {"window": {"low": 0, "high": 255}}


@pytest.mark.parametrize(
    ("sixteen_bit", "decode"),
    [(WINDOW, None), ("high_byte", {"sixteen_bit": WINDOW, "grey": "refuse"})],
)
def test_a_champion_sees_images_by_its_own_rules_and_must_answer_for_all(
    sixteen_bit: str | dict[str, dict[str, int]],
    decode: dict[str, object] | None,
    workspace: Path,
    params: Params,
) -> None:
    rows = read_table(artifacts.rows("test"))
    for path in rows["path"]:  # the same pictures, in the lower 8 of 16 bits
        values = np.asarray(Image.open(artifacts.RAW / path))[..., 0].astype(np.uint16)
        Image.fromarray(values).save(artifacts.RAW / path)
    # The rule of params.yaml is high_byte, so these pictures are black for the challenger.
    write_black_images(rows)
    write_model(4.0, sixteen_bit=sixteen_bit, decode=decode)
    promote("digits", str(register_as_it_is(params, 2, SIZE)), "a window", "Ann", override=True)
    write_model(5.0)
    verdict = run(params)
    accuracy = verdict["comparison"][0]  # type: ignore[index]
    assert (accuracy["metric"], accuracy["champion"]["value"]) == ("accuracy", 1.0)
    assert accuracy["challenger"]["value"] == 0.5


def write_black_images(rows: pd.DataFrame) -> None:
    """Leave what `prepare` would leave of changed image files that it makes black."""
    rows["image_id"] = [sha256(artifacts.RAW / path) for path in rows["path"]]
    write_table(artifacts.rows("test"), rows)
    np.save(artifacts.images("test"), np.zeros((IMAGES, SIZE, SIZE, 3), np.uint8))
    statistics = read_tree(artifacts.STATISTICS)
    statistics["pixels"]["test"] = sha256(artifacts.images("test"))
    write_tree(artifacts.STATISTICS, statistics)


def test_a_champion_sees_images_resized_in_its_own_way(workspace: Path, params: Params) -> None:
    assert params.prepare.resize == "squash"
    rows = read_table(artifacts.rows("test"))
    for path in rows["path"]:  # the picture in the middle, its opposite at both sides
        pixels = np.asarray(Image.open(artifacts.RAW / path))
        wide = np.concatenate([255 - pixels, pixels, 255 - pixels], axis=1)
        (artifacts.RAW / path).write_bytes(encode_png(wide))
    write_black_images(rows)
    write_model(4.0, resize="crop")
    promote("digits", str(register_as_it_is(params, 2, SIZE)), "it crops", "Ann", override=True)
    write_model(5.0)
    accuracy = run(params)["comparison"][0]  # type: ignore[index]
    assert (accuracy["challenger"]["value"], accuracy["champion"]["value"]) == (0.5, 1.0)


def register_as_it_is(params: Params, classes: int, size: int, name: str = "digits") -> int:
    """Register the model file without judging it, as from an older state of the data."""
    from components.registry.versions import register_version
    from components.tracking.runs import adopt_model

    example = np.zeros((1, size, size, 3), np.uint8)
    run_id = adopt_model(sha256(artifacts.MODEL), ORIGIN)
    return register_version(name, artifacts.MODEL, run_id, example, classes, {})


# Keras warns of a softmax over one class, which is what this champion has.
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1:UserWarning")
def test_a_class_that_the_champion_does_not_know_is_no_gain(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    today = artifacts.MODEL.read_bytes()
    write_model(4.0, ("bright",))
    promote("digits", str(register_as_it_is(params, 1, SIZE)), "one class", "Ann", override=True)
    artifacts.MODEL.write_bytes(today)
    verdict = run(params)
    recalls = {
        row["class_name"]: row["champion"] and row["champion"]["value"]
        for row in verdict["comparison"]  # type: ignore[attr-defined]
    }
    assert (recalls["bright"], recalls["dark"]) == (1.0, None)
    assert verdict["decision"] == "hold"
    assert verdict["reasons"][0].startswith("the classes changed (new: dark)")  # type: ignore[index]
    assert "1.000 (0.886 – 1.000) – –" in page().section("classes")
    assert "0 images lost, 0 images gained" in page().section("changed")


def test_a_champion_that_cannot_be_loaded_is_said_and_nothing_is_promoted(
    workspace: Path, params: Params
) -> None:
    write_model(4.0)
    run(params)
    promote("digits", "1", "first", "Ann")
    shutil.rmtree(".fovea")
    uri = client().get_model_version_download_uri("digits", "1")
    (Path(uri) / "data/model.keras").write_bytes(b"rubbish")
    write_model(5.0)
    verdict = run(params, "auto")
    assert verdict["decision"] == "hold"
    assert verdict["reasons"] == ["the champion, version 1, cannot be loaded: nothing is compared"]
    assert "Nothing is compared with version 1" in page().section("figures")
    assert "the same as those of version 1" in page().section("lineage")
    assert reigning() == 1


def champion_trained_on(paths: Sequence[str], params: Params) -> None:
    """Make a model the champion that has seen these images."""
    images = read_table(artifacts.MANIFEST).set_index("path")
    hashes = pixel_hashes(images.loc[list(paths), "pixels_id"])
    write_model(4.0)
    number = register_as_it_is(params, 2, SIZE)
    keep_seen(find_version("digits", str(number)), Seen(np.sort(hashes), hashes[:0]))
    promote("digits", str(number), "of another split", "Ann", override=True)


def test_test_images_of_the_champions_training_end_in_hold_with_the_figure(
    workspace: Path, params: Params
) -> None:
    champion_trained_on(read_table(artifacts.rows("test"))["path"][:43], params)
    write_model(5.0)
    verdict = run(params, "auto")
    assert (verdict["decision"], verdict["images"], reigning()) == ("hold", 60, 1)
    assert verdict["reasons"] == [
        "72 % of the test images (43 of 60) were in the training of version 1, or are copies of "
        "such images: too few images are left to compare"
    ]
    assert all(row["champion"] is None for row in verdict["comparison"])  # type: ignore[attr-defined]


def test_a_few_test_images_of_the_champions_training_are_left_out(
    workspace: Path, params: Params
) -> None:
    champion_trained_on(read_table(artifacts.rows("test"))["path"][:20], params)
    write_model(5.0)
    verdict = run(params)
    accuracy = verdict["comparison"][0]  # type: ignore[index]
    assert (verdict["images"], accuracy["champion"]["value"]) == (40, 1.0)
    assert verdict["reasons"][-1] == (  # type: ignore[index]
        "33 % of the test images (20 of 60) were in the training of version 1, or are copies of "
        "such images: they are left out of the comparison"
    )


def test_a_version_keeps_what_it_was_trained_on_and_an_old_one_is_said_to_be_unknown(
    workspace: Path, params: Params
) -> None:
    write_model(4.0)
    promote(
        "digits",
        str(register_as_it_is(params, 2, SIZE)),
        "from an older Fovea",
        "Ann",
        override=True,
    )
    write_model(5.0)
    unknown = "not known what version 1 of digits was trained on: test images may be among them"
    assert run(params)["reasons"][-1] == unknown  # type: ignore[index]
    ids = read_table(artifacts.MANIFEST).set_index("path").loc[list(OTHERS), "pixels_id"]
    seen = seen_by(find_version("digits", "2"))
    assert (seen.images.tolist(), seen.unknown) == (sorted(pixel_hashes(ids).tolist()), ())
    assert len(seen.copies) == 0


def test_an_old_version_gets_its_list_when_the_same_model_is_trained_again(
    workspace: Path, params: Params
) -> None:
    write_model(5.0)
    register_as_it_is(params, 2, SIZE)
    assert seen_by(find_version("digits", "1")).unknown == ("version 1 of digits",)
    assert run(params)["version"] == 1
    assert len(seen_by(find_version("digits", "1")).images) == len(OTHERS)


def test_a_list_that_was_changed_in_the_store_is_not_trusted(
    workspace: Path, params: Params
) -> None:
    champion_trained_on(["other/1.png"], params)
    uri = client().get_model_version_download_uri("digits", "1")
    (Path(uri) / "data/seen.parquet").write_bytes(b"nothing seen")
    write_model(5.0)
    reason = "the champion, version 1, cannot be loaded: nothing is compared"
    assert (run(params, "auto")["reasons"], reigning()) == ([reason], 1)


def test_a_model_has_seen_what_its_start_has_seen(workspace: Path, params: Params) -> None:
    """The start is a version of another name, and no champion."""
    write_model(4.0)
    paths = read_table(artifacts.rows("test"))["path"]
    ids = read_table(artifacts.MANIFEST).set_index("path")["pixels_id"]
    register_as_it_is(params, 2, SIZE, "start")
    start = find_version("start", "1")
    keep_seen(start, Seen(np.sort(pixel_hashes(ids[paths[:43]])), np.empty(0, np.uint64)))
    write_model(5.0, started_from=start.model_id)
    verdict = run(params, "auto")
    assert (verdict["decision"], verdict["champion"], reigning()) == ("hold", None, None)
    assert verdict["reasons"] == [
        "72 % of the test images (43 of 60) were in the training of the new model, or are copies "
        "of such images: too few images are left to compare"
    ]
    seen = seen_by(find_version("digits", "1"))
    assert np.isin(pixel_hashes(ids[[*paths[:43], *OTHERS]]), seen.images).all()


@pytest.mark.slow
def test_another_split_seed_ends_in_hold_and_another_train_seed_does_not(
    prepared: Hyperparameters, params: Params
) -> None:
    """Real stages: 200 digits, three trainings."""
    floors = dict.fromkeys(("accuracy", "balanced_accuracy", "recall"), 0.0)
    update = {"floors": Floors.model_validate(floors), "resamples": 200}
    register_params = params.register_.model_copy(update=update)
    evaluate_params = params.evaluate.model_copy(update={"resamples": 200})

    def generation(split_seed: int, train_seed: int) -> dict[str, Any]:
        split.run(params.split.model_copy(update={"seed": split_seed}))
        prepare.run(params.ingest, params.prepare)
        balance.run(params.balance)
        train.run(prepared.model, prepared.train.model_copy(update={"seed": train_seed}))
        evaluate_stage.run(evaluate_params)
        register.run(params.ingest, params.prepare, register_params)
        found: dict[str, Any] = json.loads(artifacts.VERDICT.read_text())
        return found

    generation(split_seed=1, train_seed=1)
    promote("digits", "1", "first", "Ann")
    trained_again = generation(split_seed=1, train_seed=2)
    assert trained_again["version"] == 2
    assert "training of" not in str(trained_again["reasons"])
    assert trained_again["images"] == len(read_table(artifacts.PREDICTIONS))

    split_again = generation(split_seed=2, train_seed=1)
    assert split_again["decision"] == "hold"
    (reason,) = split_again["reasons"]
    share, seen, images = map(int, re.findall(r"\d+", reason)[:3])
    assert reason.endswith("of version 1, or are copies of such images: too few images are left to "
                           "compare")  # fmt: skip
    assert images == len(read_table(artifacts.PREDICTIONS))
    assert share == round(100 * seen / images)
    assert 70 < share < 100


def test_predictions_of_other_splits_are_not_judged(workspace: Path, params: Params) -> None:
    write_model(5.0)
    paths = read_table(artifacts.rows("test"))["path"].tolist()
    write_splits({paths[0]: "train", **dict.fromkeys(paths[1:], "test"), **OTHERS})
    with pytest.raises(UserError, match=r"not in the split test; .*Received: 1 of 60 images"):
        run(params)
    assert versions("digits") == ()


def write_card_and_champion(params: Params) -> None:
    """Write a params.yaml for the images of the workspace, and let a weak version 1 be promoted."""
    text = DIGITS.read_text().replace("  size: 16 ", f"  size: {SIZE} ")
    Path("params.yaml").write_text(text.replace("resamples: 2000", "resamples: 200"))
    write_model(0.0)  # calls everything bright
    register_as_it_is(params, 2, SIZE)
    promote("digits", "1", "first", "Ann", override=True)


@pytest.fixture
def card(workspace: Path, params: Params) -> Params:
    """A params.yaml for the images of the workspace, and a weak champion, version 1."""
    write_card_and_champion(params)
    return params


def test_a_version_is_judged_again_against_the_present_champion(
    workspace: Path, card: Params
) -> None:
    for slope in (4.0, 5.0):  # versions 2 and 3 are both compared with version 1
        write_model(slope)
        run(card)
    assert find_version("digits", "3").tags["compared_with"] == "1"
    promote("digits", "2", "better", "Ann", override=True)
    verdict = judge_again(find_version("digits", "3"), "digits", champion("digits"))
    assert verdict is not None
    assert verdict.decision == "hold"  # the two are right on the same images
    version = find_version("digits", "3")
    assert (version.tags["verdict"], version.tags["compared_with"]) == ("hold", "2")
    kept = json.loads(version.run.read_text("1-register-report/digits/verdict.json") or "")
    assert (kept["version"], kept["champion"], kept["decision"]) == (3, 2, "hold")
    assert read_tree(artifacts.VERDICT)["champion"] == 1  # the workspace's file belongs to DVC
    report = Outline(version.run.read_text("1-register-report/digits/report.html") or "")
    assert "hold: version 3 of digits" in report.text
    assert "champion, version 2" in report.section("figures")
    assert "champion, version 2" in version.description
    assert "champion, version 1" in page().section("figures")


def test_a_review_has_the_weak_slices_of_the_model_that_it_is_about(
    workspace: Path, card: Params
) -> None:
    write_model(5.0)
    run(card, weak=["dark"])
    weak = read_table(artifacts.SLICES)
    row = f"| dark{GAP} | 0.500 (0.350 – 0.650){GAP} | 40{GAP} | 0.001 |"
    assert row in find_version("digits", "2").description
    assert "dark" in page().section("slices")
    assert "Surely weaker on this part of the test images: dark" in artifacts.MODEL_CARD.read_text()
    evaluate(weak=["of another model"])
    # The run of the version says what is known of it.
    for table, shown in ((None, 0), (weak, 1), (weak.drop(columns="weak"), 0)):
        version = find_version("digits", "2")
        if table is not None:
            write_table(Path("slices.csv"), table)
            version.run.log_files(Path("slices.csv"), folder="evaluate")
        assert judge_again(version, "digits", None) is not None
        described = find_version("digits", "2").description
        assert (described.count(row), described.count("slice")) == (shown, 4 * shown)


def test_a_version_is_compared_with_any_version_or_with_none(workspace: Path, card: Params) -> None:
    write_model(5.0)
    run(card)
    better, worse = find_version("digits", "2"), find_version("digits", "1")
    verdict = judge_again(worse, "digits", better)
    assert verdict is not None
    assert verdict.decision == "reject"
    assert find_version("digits", "1").tags["compared_with"] == "2"
    alone = judge_again(better, "digits", None)
    assert alone is not None
    assert (alone.decision, alone.comparison[0].champion) == ("promote", None)


@pytest.mark.parametrize("missing", ["params.yaml", "predictions", "images", "another size"])
def test_a_version_is_not_judged_again_without_its_data(
    workspace: Path, card: Params, missing: str
) -> None:
    if missing == "another size":
        text = Path("params.yaml").read_text()
        Path("params.yaml").write_text(text.replace(f"  size: {SIZE} ", "  size: 16 "))
    else:
        evaluate()
        files = {"predictions": artifacts.PREDICTIONS, "images": artifacts.images("test")}
        files.get(missing, Path(missing)).unlink()
    before = find_version("digits", "1")
    assert judge_again(before, "digits", None) is None
    assert find_version("digits", "1") == before


def test_a_version_whose_file_was_changed_is_not_judged_again(
    workspace: Path, card: Params
) -> None:
    write_model(5.0)
    run(card)
    uri = client().get_model_version_download_uri("digits", "2")
    (Path(uri) / "data/model.keras").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="was changed since it was registered"):
        judge_again(find_version("digits", "2"), "digits", champion("digits"))


def test_the_test_images_of_a_judgement_are_named_by_content_and_label(
    workspace: Path, card: Params
) -> None:
    write_model(5.0)
    run(card)
    first = find_version("digits", "2").tags["test_id"]
    for file in (artifacts.rows("test"), artifacts.MANIFEST, artifacts.SPLITS):
        table = read_table(file)
        write_table(file, table.assign(path="elsewhere/" + table["path"]))
    run(card)
    assert find_version("digits", "2").tags["test_id"] == first
    rows = read_table(artifacts.rows("test"))
    rows.loc[0, ["label", "label_index"]] = ["dark", 1]
    write_table(artifacts.rows("test"), rows)
    run(card)
    assert find_version("digits", "2").tags["test_id"] != first


def test_a_champion_set_by_hand_is_judged_put_on_record_and_compared_with(
    workspace: Path, params: Params, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    for slope in (5.0, -5.0):
        write_model(slope)
        run(params)
    promote("digits", "1", "first", "Ann")
    client().set_registered_model_alias("digits", "champion", "2")
    write_model(4.0)
    verdict = run(params)
    assert (verdict["champion"], reigning()) == (2, 2)
    event = history("digits")[-1]
    assert (event.kind, event.from_version, event.to_version) == ("by hand", 1, 2)
    assert "the gate rejected this version (" in event.overridden
    assert find_version("digits", "2").tags["compared_with"] == "1"
    assert "version 2 was made the champion by hand in MLflow, although the gate" in caplog.text


def test_promote_judges_on_the_spot_what_was_compared_with_an_earlier_champion(
    workspace: Path, card: Params
) -> None:
    for slope in (4.0, 5.0):
        write_model(slope)
        assert run(card)["decision"] == "promote"
    promote("digits", "2", "better", "Ann", judge_here)
    with pytest.raises(UserError, match=r"its verdict is hold \(no significant difference"):
        promote("digits", "3", "better", "Ann", judge_here)
    assert find_version("digits", "3").tags["compared_with"] == "2"
    assert reigning() == 2
