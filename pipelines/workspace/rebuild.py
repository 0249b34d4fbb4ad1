"""A folder with the code and images of a commit → its environment, and its stages, one by one.

Each step that has ended is written to a file of the folder. So after Ctrl-C or an error the same
command goes on from there. The commit may have another layout than the code that runs this module.
So only git, DVC, the commit's own set-up and the commit's stages work in the folder.
"""

import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.files import write_whole
from components.words import size_text
from pipelines import artifacts
from pipelines.installed import Difference, differences
from pipelines.workspace import dvc_files, locks
from pipelines.workspace.environment import QUIET
from pipelines.workspace.git import GitError, git
from pipelines.workspace.processes import CommandFailedError, run, stage_environment

log = logging.getLogger(__name__)

STATE = artifacts.STATE / "reproduce.json"
SET_UP = Path("infra/set-up.sh")
PACKAGES = Path("pipelines/packages")
REQUIREMENTS = Path("requirements.lock")
PACKAGES_BYTES = 4 * 2**30  # of .venv; the packages with which Fovea was locked need 3.8 GiB
STORE = "sqlite:///mlflow.db"  # relative to the folder in which the stages run
LONGEST_REASON = 600  # characters
# Variables that could lead the stages of the folder to the workspace, to its MLflow, to Prefect, to
# the finished study of a search, or to other code.
LEFT_OUT = re.compile(
    r"_?MLFLOW_.*|PREFECT_.*|DVC_(EXP|STUDIO)_.*|DVC_(ROOT|STAGE)|FOVEA_FLOW_RUN_ID|"
    r"FOVEA_(SEARCH_EXECUTOR|STUDY_STORAGE|SHARED_STORE)|"
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|COMMON_DIR|PREFIX)|PYTHON(HOME|PATH|SAFEPATH)"
)


@dataclass
class Rebuild:
    """A folder in which a model is made again, and the steps that have ended.

    root: the folder. project: the folder of dvc.yaml, which is `root` or below it. plan: what is
    made: the sha256 of the model, the backend of Keras, and the options. done: step → what is known
    about it.
    """

    root: Path
    project: Path
    plan: Mapping[str, Any]
    done: dict[str, Any] = field(default_factory=dict)

    def note(self, step: str, value: Any) -> None:
        """Write down that a step has ended."""
        self.done[step] = value
        with write_whole(self.project / STATE) as part:
            part.write_text(json.dumps({"plan": self.plan, "done": self.done}), encoding="utf-8")

    @property
    def python(self) -> Path:
        """Return the Python that runs the stages."""
        return Path(sys.executable) if self.plan["here"] else self.project / ".venv/bin/python"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables with which the stages run."""
        kept = {k: v for k, v in stage_environment({}).items() if not LEFT_OUT.fullmatch(k)}
        path = os.pathsep.join([str(self.python.parent), kept["PATH"]])
        own = {
            "PATH": path,
            "PYTHONPATH": str(self.project),
            "MLFLOW_TRACKING_URI": STORE,
            "KERAS_BACKEND": self.plan["backend"],
        }
        return {**QUIET, **kept, **own}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Return the stages that have run, and the seconds that each took."""
        seconds: dict[str, float] = self.done.get("seconds", {})
        return seconds


@contextmanager
def open_folder(root: Path, plan: Mapping[str, Any]) -> Iterator[Rebuild]:
    """Lock a folder, and yield it with the steps that an earlier run has done in it.

    root: an absolute path. plan: what is made; it can be written as JSON.
    Raises UserError if the folder is inside the workspace but not below .fovea, if it is not empty
    and has no rebuild, if stages of another plan have run in it, or if it cannot be written.
    """
    _check_place(root)
    project = root / _folder_in_repository()
    try:
        _check_content(root, project, plan)
        project.mkdir(parents=True, exist_ok=True)
        with locks.hold(project, "fovea reproduce"):
            # Another process may have worked in the folder while this process waited for the lock.
            state = _read_state(project)
            done = state["done"] if state.get("plan") == plan else {}
            rebuild = Rebuild(root, project, plan, done)
            rebuild.note("started", True)
            yield rebuild
    except OSError as error:
        raise UserError(
            "the folder cannot be used; free space, or give another folder with --into, and run "
            f"the command again. Received: {error.strerror or error}, {error.filename or root}"
        ) from None


def check_space(rebuild: Rebuild, results: int) -> None:
    """Raise UserError if the disk has too little free space.

    results: the size of the images and of the results of the stages, in bytes. The size of an
    environment that is still to be installed is added.
    """
    installs = not rebuild.plan["here"] and "environment" not in rebuild.done
    needed = results * ("data" not in rebuild.done) + PACKAGES_BYTES * installs
    free = shutil.disk_usage(rebuild.root).free
    if free < needed:
        raise UserError(
            f"the disk has too little free space, {size_text(needed)} are needed; free space, or "
            "give a folder on another disk with --into. "
            f"Received: {size_text(free)} free for {rebuild.root}"
        )


def build_environment(rebuild: Rebuild) -> None:
    """Install the packages that the commit locks, by the commit's own set-up.

    With the option --here, only check that this environment has the packages that the commit's
    stages check. Raises UserError if a package differs, or if the set-up fails.
    """
    if rebuild.plan["here"]:
        _check_packages(rebuild.project)
    elif "environment" not in rebuild.done:
        begin = time.monotonic()
        script = rebuild.project / SET_UP
        by_make = ["make", "-C", str(rebuild.project), ".venv/installed"]  # of commits without it
        command = ["sh", str(script), sys.executable] if script.is_file() else by_make
        try:
            run(command, rebuild.environment, log.debug)
        except (CommandFailedError, FileNotFoundError) as error:
            raise UserError(
                "the packages of the commit cannot be installed; fix the reason, or add --here to "
                "use the packages of this environment, which needs no network. "
                f"Received: {end_of(error)}"
            ) from None
        rebuild.note("environment", time.monotonic() - begin)


def run_stage(rebuild: Rebuild, stage: str) -> None:
    """Run one stage of the commit, if it has not run yet.

    Raises UserError with the reason if the stage fails.
    """
    if stage in rebuild.seconds:
        return
    # --single-item runs this stage and no other. So `search`, whose result is on record, does not
    # run again, even if an earlier stage gives other results. (`dvc freeze` would edit dvc.yaml.)
    # --force runs the stage even if DVC's cache has the results of the same inputs. --no-commit
    # keeps the new results out of the cache, because it is the cache of the workspace.
    options = ["--single-item", "--force", "--no-commit"]
    dvc = [str(rebuild.python), "-m", "dvc", "--cd", str(rebuild.project)]
    begin = time.monotonic()
    try:
        run([*dvc, "repro", *options, stage], rebuild.environment, log.debug)
    except CommandFailedError as error:
        raise UserError(
            f"the stage {stage} fails; fix the reason, then run the command again, and it goes on "
            f"from this stage. Received: {end_of(error)}"
        ) from None
    rebuild.note("seconds", {**rebuild.seconds, stage: time.monotonic() - begin})


def end_of(error: Exception) -> str:
    """Return the last LONGEST_REASON characters of a message on one line; the cause is at its end.

    >>> end_of(ValueError("first line\\nlast line"))
    'first line last line'
    """
    text = one_line(error, longest=None)
    return text if len(text) <= LONGEST_REASON else f"… {text[-LONGEST_REASON:]}"


def other_packages(project: Path) -> list[Difference]:
    """Return the packages of this environment that differ from those that the commit's stages need.

    The result has only packages that can change a model. If the commit does not say which packages
    these are, the result has all packages of its requirements.lock.
    """
    lists = sorted((project / PACKAGES).glob("*.txt")) or [project / REQUIREMENTS]
    found = [each for file in lists for each in differences(dvc_files.read_text(file))]
    return list(dict.fromkeys(found))


def _check_packages(project: Path) -> None:
    other = other_packages(project)
    names = ", ".join(map(str, other[:10])) + " …" * (len(other) > 10)
    if other and any((project / PACKAGES).glob("*.txt")):
        raise UserError(
            "this environment has other packages than the commit needs, so its stages would refuse "
            f"to run; leave out --here, so that they are installed in the folder. Received: {names}"
        )
    if other:
        log.warning(f"this environment has other packages than the commit: {names}")


def _check_place(root: Path) -> None:
    workspace, place = Path().resolve(), root.resolve()
    state = workspace / artifacts.STATE
    if place.is_relative_to(workspace) and state not in place.parents:
        raise UserError(
            "the folder must not be among the files of the workspace; with --into, give a folder "
            f"outside of it, or one below {artifacts.STATE}. Received: {root}"
        )


def _check_content(root: Path, project: Path, plan: Mapping[str, Any]) -> None:
    state = _read_state(project)
    if state and state["plan"] != plan and "seconds" in state["done"]:
        raise UserError(
            "the folder has a rebuild of another version, or with other options; remove it, or "
            f"give another folder with --into. Received: {root}"
        )
    if not state and root.exists() and any(root.iterdir()):
        raise UserError(
            "the folder must be empty or missing; give another folder with --into. "
            f"Received: {root}"
        )


def _folder_in_repository() -> str:
    """Return the path of the current folder below the root of the git repository, often empty."""
    try:
        return git("rev-parse", "--show-prefix").stdout.strip()
    except GitError as error:
        raise UserError(f"git must answer; fix its error. Received: {error}") from None


def _read_state(project: Path) -> dict[str, Any]:
    return dvc_files.parse(dvc_files.read_text(project / STATE))
