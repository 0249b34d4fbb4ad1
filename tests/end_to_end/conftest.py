"""A real repository with DVC and git, 300 real digits, and the whole pipeline run on them once."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
import yaml

from pipelines.commands.sample import digits
from pipelines.workspace.environment import QUIET
from tests.cards import DIGITS

ROOT = Path(__file__).parents[2]
IMAGES_PER_CLASS = 30
# Small enough for a test, and no floor that so small a network could miss.
TINY = {
    "model": {"width": 0.35},
    "train": {"finetune": {"epochs": 3}, "head": {"epochs": 3}},
    "search": {"trials": 0},
    "evaluate": {"resamples": 200, "explain": 2, "corruptions": {"images": 10}},
    "register": {
        "resamples": 200,
        "floors": {"accuracy": 0.0, "balanced_accuracy": 0.0, "recall": 0.0},
    },
}


def run(folder: Path, command: str, expect: int | None = 0, **env: str) -> str:
    """Run a command line in `folder` as a user would, and return what it printed."""
    # The bin folder first, so that `dvc`, `fovea` and the `python` of dvc.yaml are these.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    git = {f"GIT_{who}_{what}": "tester@localhost" for who in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**kept, **QUIET, **git, "PATH": path, "COLUMNS": "200", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert expect is None or done.returncode == expect, f"{command}\n{done.stdout}"
    return done.stdout


@contextmanager
def mlflow_of(folder: Path) -> Iterator[None]:
    """Ask the MLflow store of a folder from this process, which imports MLflow only once."""
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        yield


def stages_run(output: str) -> list[str]:
    """Return the stages that `dvc repro` really ran, by what it printed."""
    lines = output.splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage '")]


def edit_params(folder: Path, changes: Mapping[str, object]) -> None:
    """Set values in params.yaml, nested as in the file."""
    path = folder / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    _merge(tree, changes)
    path.write_text(yaml.safe_dump(tree, sort_keys=False))


def _merge(tree: dict[str, object], changes: Mapping[str, object]) -> None:
    for key, value in changes.items():
        below = tree.get(key)
        if isinstance(value, Mapping) and isinstance(below, dict):
            _merge(below, value)
        else:
            tree[key] = value


def copy_repository(folder: Path) -> None:
    """Copy what git tracks or would track, as the working tree has it, without its data.

    params.yaml is the demo's card, whatever this repository's own says by now.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = ("tests/", "data/raw", "dvc.lock")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(ours):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(DIGITS, folder / "params.yaml")
    run(folder, "git init -q -b main")


def write_digits(folder: Path, start: int, stop: int) -> None:
    """Write images start to stop of each class into data/raw."""
    seen: dict[str, int] = {}
    for path, content in digits():
        label = path.split("/")[0]
        seen[label] = seen.get(label, 0) + 1
        if start < seen[label] <= stop:
            file = folder / "data/raw" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def use_cache_of(other: Path, folder: Path) -> None:
    """Let DVC use the cache of another repository, as `dvc cache dir --local` does."""
    (folder / ".dvc/config.local").write_text(f"[cache]\n    dir = {other}/.dvc/cache\n")


def take_results(other: Path, folder: Path) -> Path:
    """Bring a clone to where `other` stands, but with an empty registry; return the clone."""
    shutil.copy(other / "dvc.lock", folder)
    use_cache_of(other, folder)
    run(folder, "dvc checkout -q")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a folder in one of the workers of this test run, and gives each worker
    a copy of its own. The other workers wait meanwhile.
    """

    def made_once(name: str, make: Callable[[Path], None]) -> Path:
        for_all = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            for_all = for_all.parent
        original, finished = for_all / f"{name}.original", for_all / f"{name}.finished"
        with (for_all / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(original, ignore_errors=True)  # of a worker that failed
                original.mkdir()
                make(original)
                finished.touch()
        folder = tmp_path_factory.mktemp("copies") / name
        return Path(shutil.copytree(original, folder, symlinks=True))

    return made_once


@pytest.fixture(scope="session")
def repository(made_once: Callable[..., Path]) -> Path:
    """The repository with 300 digits added and committed; nothing run yet."""

    def make(folder: Path) -> None:
        copy_repository(folder)
        edit_params(folder, TINY)
        write_digits(folder, 0, IMAGES_PER_CLASS)
        run(folder, "dvc add -q data/raw && git add -A && git commit -qm 'first images'")

    return made_once("repository", make)


@pytest.fixture(scope="session")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Clone the repository under a name: the images in place, a cache of its own, nothing run."""

    def clone(name: str) -> Path:
        folder = tmp_path_factory.mktemp("clones") / name
        run(repository.parent, f"git clone -q {repository} {folder}")
        use_cache_of(repository, folder)
        run(folder, "dvc checkout -q data/raw.dvc")
        (folder / ".dvc/config.local").unlink()
        return folder

    return clone


@pytest.fixture(scope="session")
def first_generation(clone: Callable[[str], Path], made_once: Callable[..., Path]) -> Path:
    """A clone in which `dvc repro` has run once; not to be changed."""

    def make(folder: Path) -> None:
        shutil.copytree(clone("first"), folder, symlinks=True, dirs_exist_ok=True)
        (folder / "repro.log").write_text(run(folder, "dvc repro"))

    return made_once("first", make)


@pytest.fixture
def continued(clone: Callable[[str], Path], first_generation: Path) -> Path:
    """A clone that stands where `first_generation` does, to be changed; its registry is empty."""
    return take_results(first_generation, clone("continued"))
