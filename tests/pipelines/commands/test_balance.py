"""`fovea balance`: a table, a page and a command to type, and no result is changed."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.errors import UserError
from components.imbalance import comparison
from components.imbalance.methods import METHODS, NONE
from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from pipelines import artifacts, balance
from pipelines.commands import balance as command
from pipelines.commands.balance import PAGE, TABLE, compare_methods
from tests.cards import DIGITS
from tests.pipelines.stages import sums


@pytest.fixture
def balanced(
    prepared_digits: Path, tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Go to a folder with digits after the stage `balance`."""
    shutil.copytree(prepared_digits, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.copy(DIGITS, "params.yaml")
    balance.run(params.balance)
    return tmp_path


def test_methods_are_compared_and_the_best_one_is_a_command_to_type(
    balanced: Path,
    params: Params,
    tiny_backbone: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    load_keras()
    monkeypatch.setattr(comparison, "METHODS", (NONE, METHODS[-1]))
    digits = [str(digit) for digit in range(10)]
    source = build_classifier(params.model, digits, params.prepare.size, "squash")
    weights = Path("data/weights/some.keras")
    weights.parent.mkdir(parents=True, exist_ok=True)
    write_classifier(weights, source)
    text = Path("params.yaml").read_text()
    text = text.replace("  weights: none\n  pooling", f"  weights: {weights}\n  pooling")
    Path("params.yaml").write_text(text.replace("    epochs: 60", "    epochs: 3"))
    before = sums(Path("data"))
    compare_methods(seeds=2)
    assert sums(Path("data")) == before

    table = pd.read_csv(TABLE)
    assert table["method"].tolist() == ["none", "tuned_logit_adjustment"]
    assert table["macro_f1_difference"][0] == 0
    assert (table["macro_f1_low"] <= table["macro_f1_difference"]).all()
    out, messages = capfd.readouterr()
    assert out.splitlines()[-1].startswith("  dvc exp run -S ")
    said = out + messages
    assert "heads trained: 4 of 4" in said
    assert "dvc exp run -S " in said
    assert f"{PAGE} has the charts, and {TABLE} the numbers" in said
    assert "dvc exp run -S " in PAGE.read_text()


def test_without_a_trained_backbone_one_sentence_says_what_to_write(balanced: Path) -> None:
    assert artifacts.PLAN.exists()
    with pytest.raises(UserError, match=r"a backbone that is trained.*Received: model\.weights"):
        compare_methods(seeds=2)
    assert not PAGE.exists()


@pytest.mark.parametrize(
    ("old", "new", "lock", "message"),
    [
        (
            r"    epochs: 60",
            "    epochs: 0",
            "",
            r"no epochs; raise train\.head\.epochs.*eived: 0$",
        ),
        (
            r"  augmentation:\n(    .*\n)+",
            "  augmentation: [GausNoise]\n",
            "",
            r"train\.augmentation.*GausNoise",
        ),
        (
            r"size: 16",
            "size: 32",
            "stages: {prepare: {params: {params.yaml: {prepare.size: 16}}}}",
            r"run `dvc repro balance` first\. Received: prepare\.size: 32, but 16 when",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_images_are_read(
    balanced: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    lock: str,
    message: str,
) -> None:
    monkeypatch.setattr(command, "read_training_data", lambda: pytest.fail("was read"))
    text = Path("params.yaml").read_text()
    text = text.replace("  weights: none\n  pooling", "  weights: imagenet\n  pooling")
    changed, count = re.subn(old, new, text, count=1)
    assert count
    Path("params.yaml").write_text(changed)
    Path("dvc.lock").write_text(lock)
    with pytest.raises(UserError, match=message):
        compare_methods(seeds=2)
