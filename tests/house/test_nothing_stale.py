"""E8: one changed pixel, label, line, package or param makes DVC run exactly what it reaches.

Nothing is trained here. The outs of the stages are files with a few bytes, and `dvc commit` writes
them into dvc.lock as if the stages had run. Then one thing changes, and DVC says what it would run.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.repo import Repo
from PIL import Image

from pipelines.__main__ import STAGES
from tests.end_to_end.conftest import copy_repository

ROOT = Path(__file__).parents[2]
DAG: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
FOLDERS = ("data/validate/docs", "data/evaluate/curves")
IMAGE = "data/raw/cat/1.png"


def names(stage: str, *keys: str) -> set[str]:
    entries = [entry for key in keys for entry in DAG[stage].get(key, [])]
    return {next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries}


def write_image(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[3, 4] = colour
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def up_to_date(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, with two images, all stages recorded as up to date."""
    folder = tmp_path_factory.mktemp("up_to_date") / "repository"
    folder.mkdir()
    copy_repository(folder)
    for number, label in enumerate(("cat", "dog"), start=1):
        write_image(folder / f"data/raw/{label}/{number}.png", number)
    (folder / "data/weights").mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        for out in names(stage, "outs", "metrics", "plots"):
            file = folder / out / "file" if out in FOLDERS else folder / out
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / ".dvc/config").write_text("[core]\n    no_scm = True\n    analytics = false\n")
        with Repo(str(folder)) as repo:
            repo.add("data/raw")
            repo.commit(force=True)
    return folder


@pytest.fixture
def repository(up_to_date: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = shutil.copytree(up_to_date, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(folder)
    yield folder


def would_run(folder: Path) -> set[str]:
    """Return the stages that DVC lists as changed, and all stages that read what these write."""
    with Repo(str(folder)) as repo:
        run = {name for name in repo.status() if not name.endswith(".dvc")}
    for stage in STAGES:  # dvc.yaml has a stage after all stages that it reads from
        written = set().union(*(names(each, "outs", "metrics", "plots") for each in run))
        if names(stage, "deps") & written:
            run.add(stage)
    return run


def replace(old: str, new: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    return change


def add_line(file: Path) -> None:
    with file.open("a") as lines:
        lines.write("# one more line\n")


def move_to_other_class(file: Path) -> None:
    file.rename(file.parents[1] / "dog" / file.name)


ALL = set(STAGES)
TRAINED = {"train", "evaluate", "register"}
CHANGES = [
    ("one pixel", IMAGE, lambda file: write_image(file, 99), ALL),
    ("one label", IMAGE, move_to_other_class, ALL),
    ("a line of a step", "pipelines/train.py", add_line, TRAINED),
    ("a line that training shares", "components/training/losses.py", add_line,
     {"search", *TRAINED}),
    ("a line of the last step", "pipelines/register.py", add_line, {"register"}),
    ("a line of a metric", "components/evaluation/metrics.py", add_line, {"evaluate", "register"}),
    ("a package", "pipelines/packages/training.txt", replace("\nkeras==", "\nkeras==9"),
     {"search", *TRAINED}),
    ("a param", "params.yaml", replace("batch_size: 32", "batch_size: 16"), {"search", *TRAINED}),
    ("a param of one step", "params.yaml", replace("mistakes: 24", "mistakes: 23"),
     {"evaluate", "register"}),
    ("a line that no step reads", "pipelines/commands/review.py", add_line, set()),
    ("a comment in params.yaml", "params.yaml", add_line, set()),
]  # fmt: skip


def test_an_unchanged_repository_runs_nothing(repository: Path) -> None:
    assert would_run(repository) == set()


@pytest.mark.parametrize(
    ("file", "change", "stages"), [change[1:] for change in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_one_change_runs_exactly_the_stages_that_it_reaches(
    file: str, change: Callable[[Path], None], stages: set[str], repository: Path
) -> None:
    change(repository / file)
    assert would_run(repository) == stages
