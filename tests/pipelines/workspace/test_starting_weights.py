"""The champion's version goes into params.yaml, and nothing else there changes."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from dvc.utils.serialize import modify_yaml, parse_yaml

from components.errors import UserError
from components.params.reader import read_params
from components.registry.promotion import promote
from components.registry.versions import find_version, register_version
from components.tracking.connection import client
from components.tracking.runs import start_run
from pipelines import artifacts
from pipelines.workspace.params_text import with_value
from pipelines.workspace.starting_weights import WEIGHTS, write_champion
from tests.cards import DIGITS
from tests.components.origins import ORIGIN

CARD = DIGITS.read_text()
REFERENCE = f"models:/digits/3#sha256={'0123456789abcdef' * 4}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CARD, CARD.replace("\n  weights: none\n", f"\n  weights: {REFERENCE}\n")),
        ("model:\n  weights: 'none'  # why\n", f"model:\n  weights: {REFERENCE}  # why\n"),
        ("model: {weights: none, x: 1}\n", f"model: {{weights: '{REFERENCE}', x: 1}}\n"),
        ("a: 1\r\nmodel:\r\n  weights: b\r\n", f"a: 1\r\nmodel:\r\n  weights: {REFERENCE}\r\n"),
        ('{"model": {"weights": "ü"}}', f'{{"model": {{"weights": \'{REFERENCE}\'}}}}'),
        ("model:\n  weights: models:/digits@champion\n", f"model:\n  weights: {REFERENCE}\n"),
    ],
)
def test_one_value_changes_and_comments_and_layout_stay(before: str, after: str) -> None:
    assert with_value(before, WEIGHTS, REFERENCE) == after
    assert parse_yaml(after, "params.yaml")["model"]["weights"] == REFERENCE


@pytest.mark.parametrize(
    "text",
    [
        "model: 3\n",
        "weights: none\n",
        "model:\n  weights:\n",
        "model:\n  weights: {a: 1}\n",
        "other: &w none\nmodel:\n  weights: *w\n",
        "- model\n",
        "",
    ],
)
def test_a_value_that_cannot_be_changed_alone_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=rf"plain value.* at model\.weights; write {REFERENCE}"):
        with_value(text, WEIGHTS, REFERENCE)


def changed() -> bool:
    """Return what DVC says about the stages before `train`: not all are up to date."""
    return False


@pytest.fixture
def workspace(folder_with_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the card of the demo, and a store with two versions of digits."""
    monkeypatch.setattr(logging.getLogger("pipelines"), "propagate", True)
    Path("params.yaml").write_text(CARD)
    for content in (b"one", b"two"):
        Path("model.keras").write_bytes(content)
        with start_run("train", ORIGIN, {}) as run:
            pass
        register_version(
            "digits", Path("model.keras"), run, np.zeros((1, 4, 4, 3), np.uint8), 2, {}
        )
    return folder_with_store


def test_the_champion_is_written_once_and_a_moved_alias_again(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert write_champion(changed) is None
    assert "digits has no champion; training starts from params.yaml's weights: none" in caplog.text
    assert Path("params.yaml").read_text() == CARD

    promote("digits", "1", "first", "Ann", override=True)
    version = write_champion(changed)
    assert version is not None
    assert version.number == 1
    written = Path("params.yaml").read_text()
    assert written == CARD.replace("\n  weights: none\n", f"\n  weights: {version.reference}\n")
    write_champion(changed)
    assert "already names the champion of digits, version 1" in caplog.text
    assert Path("params.yaml").read_text() == written

    promote("digits", "2", "better", "Ann", override=True)
    write_champion(changed)
    moved = find_version("digits", "2").reference
    assert Path("params.yaml").read_text() == written.replace(version.reference, moved)


def test_a_champion_set_by_hand_is_where_training_starts_and_the_log_says_so(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    promote("digits", "1", "first", "Ann", override=True)
    client().set_registered_model_alias("digits", "champion", "2")
    version = write_champion(changed)
    assert version is not None
    assert version.number == 2
    assert find_version("digits", "2").reference in Path("params.yaml").read_text()
    assert "the alias champion was moved by hand in MLflow (now: version 2)" in caplog.text


def test_a_champion_that_cannot_be_loaded_leaves_params_yaml_as_it_is(workspace: Path) -> None:
    promote("digits", "1", "first", "Ann", override=True)
    shutil.rmtree(".fovea")
    uri = client().get_model_version_download_uri("digits", "1")
    (Path(uri.removeprefix("file://")) / "data/model.keras").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="was changed since it was registered"):
        write_champion(changed)
    assert Path("params.yaml").read_text() == CARD


@pytest.mark.parametrize(
    ("weights", "model", "unchanged", "written"),
    [
        (REFERENCE, b"two", True, False),  # trained from a version, and promoted since
        (REFERENCE, b"two", False, True),  # the data have changed since
        (REFERENCE, b"one", True, True),  # somebody promoted another model
        (REFERENCE, None, True, True),  # a clone without the model
        ("none", b"two", True, True),  # `--from champion` is new here
    ],
)
def test_a_model_is_not_trained_from_itself_on_unchanged_data(
    weights: str,
    model: bytes | None,
    unchanged: bool,
    written: bool,
    workspace: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    promote("digits", "2", "by the stage", "register.promote: auto", override=True)
    before = with_value(CARD, WEIGHTS, weights)
    Path("params.yaml").write_text(before)
    if model is not None:
        artifacts.MODEL.parent.mkdir(parents=True)
        artifacts.MODEL.write_bytes(model)
    version = write_champion(lambda: unchanged)
    assert (version is not None) == written
    assert (Path("params.yaml").read_text() != before) == written
    said = "version 2, is the model of this folder, and nothing that training reads has changed"
    assert (said in caplog.text) != written


@pytest.mark.parametrize("keys", [WEIGHTS, ("register", "name"), ("train", "weight_decay")])
@pytest.mark.parametrize("value", ["2026", "yes", "1e3", "models:/a/3", 0.00001, 1.0, 128])
def test_dvc_leaves_a_written_value_as_it_is(
    keys: tuple[str, str], value: str | float, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(with_value(CARD, keys, value))
    before = path.read_text()
    with modify_yaml(path):
        pass
    assert path.read_text() == before != CARD


def test_dvc_gives_a_value_beyond_its_80_columns_another_line_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(with_value(CARD, WEIGHTS, REFERENCE))
    before = path.read_text()
    with modify_yaml(path):
        pass
    assert path.read_text() == before.replace(
        f"weights: {REFERENCE}", f"weights: \n    {REFERENCE}"
    )
    assert read_params(path).model.weights == REFERENCE
