"""`fovea predict`: a row for each input, exit statuses, and one sentence for mistakes."""

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.images.png_writer import encode_png
from components.model.backend import load_keras
from components.model.classifier import Classifier, build_classifier, predict
from components.model.model_file import write_classifier
from components.params.reader import Params
from components.registry.versions import register_version
from components.tracking.runs import start_run
from pipelines import artifacts
from tests.components.origins import ORIGIN

Predict = Callable[..., tuple[int, str, str]]
NAMES = ("cat", "it's a dog", "c, d")
SIZE = 16


@pytest.fixture(scope="module")
def classifier(params: Params, tiny_backbone: None) -> Classifier:
    load_keras()
    import keras

    keras.utils.set_random_seed(3)
    built = build_classifier(params.model, NAMES, SIZE, "squash")
    return replace(built, decode=params.ingest.decode.pixel_rules())


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def run(
    folder_with_store: Path,
    classifier: Classifier,
    pixels: np.ndarray,
    typed: Predict,
) -> Predict:
    """Run the command in a folder with a model and images."""
    write_classifier(artifacts.MODEL, classifier)
    Path("in").mkdir()
    for number, image in enumerate(pixels):
        Path("in", f"{number}.png").write_bytes(encode_png(image))
    Path("in/text.jpg").write_text("no image")
    return partial(typed, "predict")


def test_every_input_has_a_row_on_standard_output_and_faults_are_told(
    run: Predict, classifier: Classifier, pixels: np.ndarray
) -> None:
    status, out, err = run("in", "none.png", "--top", 2)
    assert status == 3
    assert "2 images were refused (not_an_image 1, missing 1); 3 predicted" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    paths = ["in/0.png", "in/1.png", "in/2.png", "in/text.jpg", "none.png"]
    assert [row["path"] for row in rows] == paths
    assert [row["fault"] for row in rows] == ["", "", "", "not_an_image", "missing"]
    assert all(bool(row["reason"]) == bool(row["fault"]) for row in rows)
    for row, shares in zip(rows, predict(classifier, pixels), strict=False):
        first, second = np.argsort(-shares)[:2]
        assert (row["label"], row["label_2"]) == (NAMES[first], NAMES[second])
        assert float(row["probability"]) == pytest.approx(shares[first], abs=1e-5)
        assert float(row["probability_2"]) == pytest.approx(shares[second], abs=1e-5)


def test_the_exit_status_is_0_if_all_have_a_label_and_1_if_none_has(run: Predict) -> None:
    assert run("in/0.png")[0] == 0
    status, out, err = run("in/text.jpg")
    assert (status, out.count("not_an_image")) == (1, 1)
    assert "1 image was refused (not_an_image 1); 0 predicted" in err


@pytest.mark.parametrize("terminal", [True, False])
def test_rows_on_a_terminal_have_no_progress_between_them(
    terminal: bool, run: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = "predict: 3 of 3"
    assert (progress in run("in/0.png", "in/1.png", "in/2.png")[2]) != terminal
    assert progress in run("in/0.png", "in/1.png", "in/2.png", "--output", "a.csv")[2]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_no_control_characters_of_names(
    terminal: bool, run: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    Path("in/0.png").rename("in/\x1b[2J.png")
    out = run("in/\x1b[2J.png")[1]
    assert ("in/\\x1b[2J.png," in out) == terminal
    assert ("\x1b" in out) != terminal


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_has_the_same_rows_in_every_format(kind: str, run: Predict) -> None:
    file = Path(f"answers.{kind}")
    status, out, _ = run("in", "--output", file)
    assert (status, out) == (3, "")
    if kind == "jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        table = pd.DataFrame(rows)
    else:
        table = pd.read_csv(file) if kind == "csv" else pd.read_parquet(file)
    assert list(table) == ["path", "label", "probability", "fault", "reason"]
    assert list(table["path"]) == ["in/0.png", "in/1.png", "in/2.png", "in/text.jpg"]
    assert table["label"].isin(NAMES).tolist() == [True] * 3 + [False]
    assert table["probability"].between(0.3, 1).tolist() == [True] * 3 + [False]
    run("in/0.png", "--output", "other.txt", "--to", kind)
    assert Path("other.txt").stat().st_size > 0


def test_a_name_that_is_not_utf_8_comes_out_as_it_is(run: Predict) -> None:
    name = b"in/\xff\n.png".decode("utf-8", "surrogateescape")
    Path("in/0.png").rename(name)
    for kind in ("csv", "jsonl", "parquet"):
        assert run(name, "--output", f"a.{kind}")[0] == 0
    assert b'"in/\xff\n.png"' in Path("a.csv").read_bytes()
    assert b"in/\xff\\n.png" in Path("a.jsonl").read_bytes()
    assert pd.read_parquet("a.parquet")["path"].tolist() == ["in/\\xff\n.png"]


def test_the_file_that_gets_the_rows_is_not_one_of_the_inputs(
    run: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        run("in", "--output", "in/answers.csv")
        assert len(pd.read_csv("in/answers.csv")) == 4
    with Path("in/answers.csv").open() as shell:
        monkeypatch.setattr(sys.stdout, "fileno", shell.fileno)
        _, out, err = run("in")
    assert len(out.splitlines()) == 5
    assert "in/answers.csv is left out, because it gets the predictions" in err


def test_a_version_predicts_without_a_workspace(run: Predict) -> None:
    with start_run("train", ORIGIN, {"stage": "train"}) as training:
        pass
    example = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    register_version("pets", artifacts.MODEL, training, example, 3, {})
    artifacts.MODEL.unlink()
    status, out, _ = run("in/0.png", "--model", "models:/pets@challenger")
    assert (status, len(out.splitlines())) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("in", "--top", 4), "--top must be at most 3, because the model has 3 classes"),
        (("in", "--to", "parquet"), "--to parquet needs --output FILE"),
        (("in", "--output", "answers.xls"), "--output: its name must end with .csv, .jsonl"),
        (("in", "--output", "in", "--to", "csv"), "--output must be a file. Received: in"),
        (("in", "--output", "in/0.png/a.csv"), "--output must be in a folder; give another path"),
        (("in", "--output", f"{'x' * 300}.csv"), "the name of a file is too long"),
        (("in/0.png", "--to", "csv", "--output", "./in/0.png"), "must be another file than PATH"),
        (("in", "--to", "csv", "--output", artifacts.MODEL), "must be another file than PATH"),
        (("in", "--model", "other.keras"), "the model file does not exist; "),
        (("in", "--model", "models:/pets"), "--model must be a file, models:/NAME@ALIAS"),
        (("in", "--model", "models:/pets/1"), "pets at sqlite:///"),
        (("empty",), "PATH: there is no image in it; "),
        (("in", "--model", "@champion"), "params.yaml"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[object, ...], error: str, run: Predict) -> None:
    Path("empty").mkdir()
    status, out, err = run(*arguments)
    assert (status, err.count("error: ")) == (1, 1)
    assert error in err
    assert "Traceback" not in err
    assert len(out.splitlines()) <= 1  # the names of the columns


def test_after_an_error_the_output_is_as_it_was(run: Predict) -> None:
    Path("empty").mkdir()
    Path("answers.csv").write_text("before")
    assert run("empty", "--output", "answers.csv")[0] == 1
    assert Path("answers.csv").read_text() == "before"
