"""`fovea export`: a file that is compared, described and shown; else one sentence and no file."""

import json
import shutil
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from components.export.description import content_id
from components.export.targets import TARGETS
from components.images.decoder import decode, resize
from components.model.classifier import predict
from components.model.model_file import model_id, read_classifier, write_classifier
from components.params.ingest import Decode
from components.params.reader import Params, with_tuples
from components.registry.versions import find_version, register_version
from components.tracking.runs import start_run
from pipelines import artifacts
from pipelines.commands.export import FOLDER, PAGE
from pipelines.formats import read_table, read_tree, write_table, write_tree
from tests.components.origins import ORIGIN
from tests.components.pages.outline import Outline
from tests.pipelines.commands.digits_workspace import model_of_digits

Export = Callable[..., tuple[int, str, str]]
SAVED = FOLDER / "saved_model"
needs_litert = pytest.mark.skipif(
    find_spec("ai_edge_litert") is None,
    reason="needs ai-edge-litert: pip install 'fovea[export]'",
)


@pytest.fixture(scope="module")
def trained(
    prepared_digits: Path,
    params: Params,
    tiny_backbone: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Prepared digits, and a model with random weights, which is right on all test images."""
    folder = tmp_path_factory.mktemp("trained")
    # The classes of the model need not have the order of those of the data.
    model = model_of_digits(prepared_digits, folder, params, slice(None, None, -1))
    names = model.class_names
    with chdir(folder):
        write_classifier(artifacts.MODEL, replace(model, decode={"alpha": "drop"}))
        classes = predict(model, np.load(artifacts.images("test"))).argmax(1)
        rows = read_table(artifacts.rows("test"))
        write_table(artifacts.rows("test"), rows.assign(label=[names[each] for each in classes]))
    return folder


@pytest.fixture
def export(trained: Path, folder_with_store: Path, typed: Export) -> Export:
    """Run the command in a copy of the workspace."""
    shutil.copytree(trained, folder_with_store, dirs_exist_ok=True)
    return partial(typed, "export")


def limit_drop(most: float) -> None:
    params = Path("params.yaml")
    text, limit = params.read_text(), "max_accuracy_drop: 0.01"
    assert limit in text
    params.write_text(text.replace(limit, f"max_accuracy_drop: {most}"))


def test_an_export_is_written_with_its_description_page_and_table(export: Export) -> None:
    limit_drop(0.0)  # It loses nothing.
    status, out, err = export("--to", "saved_model")
    assert status == 0, err
    tree = read_tree(SAVED.with_name("saved_model.json"))
    assert tree["format"] == "saved_model"
    assert tree["sha256"] == content_id(SAVED)
    assert (tree["model_id"], tree["version"]) == (model_id(artifacts.MODEL), None)
    assert tree["class_names"] == list(read_classifier(artifacts.MODEL).class_names)
    assert tree["check"]["test_images"] == len(read_table(artifacts.rows("test")))
    assert tree["check"]["agreement"]["value"] == tree["check"]["accuracy"]["value"] == 1.0
    assert tree["check"]["largest_difference"] < 1e-5
    assert tree["preprocessing"]["decode"]["alpha"] == "drop"  # the model's; params.yaml: blend
    assert all(time > 0 for time in tree["check"]["latency_ms"].values())
    table = Outline(PAGE.read_text()).section("table")
    assert "model.keras" in table and "saved_model" in table
    assert str(SAVED) in out and str(PAGE) in out
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "report.html",
        "saved_model",
        "saved_model.json",
    ]

    # The description says how an image becomes the pixels of `prepare`.
    how = tree["preprocessing"]
    rules = Decode.model_validate(with_tuples(how["decode"]))
    content = (artifacts.RAW / read_table(artifacts.rows("test"))["path"][0]).read_bytes()
    images = np.load(artifacts.images("test"))[:3]
    pixels = resize(decode(content, rules).pixels, how["size"], how["resize"])
    np.testing.assert_array_equal(pixels, images[0])

    import tensorflow as tf

    loaded = tf.saved_model.load(str(SAVED))
    (probabilities,) = loaded.signatures["serving_default"](images=tf.constant(images)).values()
    expected = predict(read_classifier(artifacts.MODEL), images)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_a_path_that_exists_is_replaced_only_if_it_is_an_export_and_asked_for(
    export: Export,
) -> None:
    file = Path("photos/cat.jpg")
    file.parent.mkdir()
    file.write_bytes(b"mine")
    Path("link").symlink_to("missing")
    for arguments in (
        ("saved_model", "--output", "photos", "--replace"),
        ("saved_model", "--output", file, "--replace"),
        ("saved_model", "--output", file / "below"),
        ("saved_model", "--output", ".", "--replace"),
        ("saved_model", "--output", "link", "--replace"),
    ):
        status, _, err = export("--to", *arguments)
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith("error: --output ") and "path. Received: " in err
    assert file.read_bytes() == b"mine" and list(Path("photos").iterdir()) == [file]

    older = {"format": "onnx", "model_id": "0" * 64, "check": {}}
    write_tree(SAVED.with_name("saved_model.json"), older)
    status, _, err = export("--to", "saved_model", "--replace")
    assert status == 1 and "is no earlier export to saved_model; give another path" in err
    write_tree(SAVED.with_name("saved_model.json"), older | {"format": "saved_model"})
    for _ in range(2):  # first, the description is there alone
        status, _, err = export("--to", "saved_model")
        assert status == 1 and "add --replace" in err
        SAVED.mkdir(exist_ok=True)
    (SAVED / "old").write_text("an earlier export")
    status, _, err = export("--to", "saved_model", "--replace")
    assert status == 0, err
    assert not (SAVED / "old").exists() and (SAVED / "saved_model.pb").exists()

    # An export that was measured before, and comes later by its name; and one of another model.
    tree = read_tree(SAVED.with_name("saved_model.json"))
    older = tree | {"model": tree["model"] | {"bytes": 123_000_000}}
    for name, described in (("y", tree | {"model_id": "0" * 64}), ("z", older)):
        (FOLDER / name).mkdir()
        write_tree(FOLDER / f"{name}.json", described)
    status, out, _ = export("--to", "saved_model", "--replace", "--output", SAVED.resolve())
    assert status == 0 and "123.0 MB" not in out and out.count("saved_model │") == 2


def test_a_version_gets_the_table_into_its_run(export: Export) -> None:
    with start_run("train", ORIGIN, {"stage": "train"}) as run:
        pass
    example = np.zeros((1, 16, 16, 3), np.uint8)
    register_version("digits", artifacts.MODEL, run, example, 10, {"verdict": "promote"})
    version = find_version("digits", "1")
    for number, arguments in enumerate(([], ["--model", "@challenger", "--output", "out/b"])):
        status, _, err = export("--to", "saved_model", *arguments)
        assert status == 0, err
        table = json.loads(version.run.read_text("5-exports/digits/exports.json") or "")
        assert [row[0] for row in table["data"]][1:] == ["saved_model"] * (number + 1)
    assert read_tree(Path("out/b.json"))["version"] == "digits/1"
    page = version.run.read_text("5-exports/digits/report.html")
    assert page == PAGE.read_text()
    assert "digits, version 1" in Outline(page).names


def test_an_mlflow_that_does_not_answer_stops_no_export(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    status, out, _ = export("--to", "saved_model")
    assert status == 0 and "the result goes to no version" in out
    assert SAVED.is_dir()


@pytest.mark.parametrize("broken", ["no images", "other size", "missing"])
def test_without_a_test_split_that_fits_nothing_is_exported(export: Export, broken: str) -> None:
    if broken == "no images":
        write_table(artifacts.rows("test"), read_table(artifacts.rows("test"))[:0])
    elif broken == "other size":
        write_tree(artifacts.STATISTICS, read_tree(artifacts.STATISTICS) | {"size": 20})
    else:
        artifacts.rows("test").unlink()
    status, _, err = export("--to", "saved_model")
    assert (status, err.count("\n")) == (1, 1)
    assert "dvc repro prepare" in err
    assert not FOLDER.exists()


def test_a_package_that_is_not_installed_is_named_before_any_work(export: Export) -> None:
    missing = [
        target.name for target in TARGETS.values() if None in map(find_spec, target.packages)
    ]
    if not missing:
        pytest.skip("needs an environment without fovea[export]")
    status, _, err = export("--to", missing[0])
    assert status == 1 and "pip install 'fovea[export]'" in err


@needs_litert
def test_without_training_images_nothing_is_calibrated(export: Export) -> None:
    write_table(artifacts.rows("train"), read_table(artifacts.rows("train"))[:0])
    status, _, err = export("--to", "litert-int8")
    assert status == 1 and "Received: no image in train" in err


@needs_litert
def test_an_export_that_loses_too_much_is_refused_and_leaves_nothing(export: Export) -> None:
    text = Path("params.yaml").read_text()
    limit_drop(0.0)
    status, _, err = export("--to", "litert-int8")
    assert status == 1 and err.count("\n") == 1, err
    assert "loses more accuracy than export.max_accuracy_drop" in err
    assert not FOLDER.exists()
    assert not any("export" in each.name or ".tflite" in each.name for each in Path().rglob("*"))

    Path("params.yaml").write_text(text)
    limit_drop(1.0)
    status, _, err = export("--to", "litert-int8")
    assert status == 0, err
    check = read_tree(FOLDER / "model.int8.tflite.json")["check"]
    assert check["accuracy"]["value"] == check["agreement"]["value"] < 1.0
