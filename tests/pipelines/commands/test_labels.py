"""`fovea labels`: wrong labels come first by features of the trained model; no file is moved."""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from components.errors import UserError
from components.label_errors.suspects import SCORES
from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from pipelines import artifacts
from pipelines.commands.labels import PAGE, TABLE, write_ranking
from pipelines.formats import read_table
from tests.cards import DIGITS
from tests.components.pages.outline import Outline
from tests.pipelines.stages import run_until, sums

WRONG = {"0": "7", "1": "4", "6": "2"}  # the label of a digit → the label that it gets


@pytest.fixture(scope="module")
def validated(
    digits_folder: Path, tmp_path_factory: pytest.TempPathFactory, params: Params
) -> Path:
    """Accepted images, of which three have a wrong label."""
    folder = tmp_path_factory.mktemp("validated")
    with chdir(folder):
        shutil.copytree(digits_folder, artifacts.RAW)
        shutil.copy(DIGITS, "params.yaml")
        for label, other in WRONG.items():
            shutil.move(min((artifacts.RAW / label).iterdir()), artifacts.RAW / other / "wrong.png")
        run_until("validate", params)
    return folder


@pytest.fixture
def mislabelled(validated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Go to a copy of these images; return the paths of the three."""
    shutil.copytree(validated, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return {f"{other}/wrong.png" for other in WRONG.values()}


def test_wrong_labels_come_first_and_no_file_of_a_stage_changes(
    mislabelled: set[str],
    params: Params,
    tiny_backbone: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    load_keras()
    from keras.utils import set_random_seed

    digits = [str(digit) for digit in range(10)]
    set_random_seed(1)
    classifier = build_classifier(params.model, digits, params.prepare.size, params.prepare.resize)
    write_classifier(artifacts.MODEL, classifier)
    before = sums(Path("data"))
    write_ranking()
    assert sums(Path("data")) == before

    table = read_table(TABLE)
    assert list(table) == list(SCORES)
    assert sorted(table["path"]) == sorted(read_table(artifacts.ACCEPTED)["path"])
    # The weights are random, so not all three are found; by chance it would be one in ten.
    assert len(mislabelled & set(table["path"].head(20))) >= 2

    outline = Outline(PAGE.read_text())
    assert outline.open == []
    assert outline.tags.count("img") == 100
    assert not {"script", "link", "iframe"} & set(outline.tags)
    shown = [name for name in outline.names if name.endswith(".png")]
    assert shown == table["path"].head(100).tolist()
    assert "agrees with" in outline.section("ranking")

    said = "".join(capfd.readouterr())
    assert "200 images: read each image at" in said
    assert f"{PAGE} shows the first images, and {TABLE} ranks all of them" in said


def test_without_a_model_one_sentence_says_what_to_run(mislabelled: set[str]) -> None:
    with pytest.raises(UserError, match=r"data/train/model\.keras"):
        write_ranking()
    assert not PAGE.exists()
