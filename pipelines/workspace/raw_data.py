"""The folder data/raw → the same folder, tracked by DVC."""

import logging
from collections.abc import Sequence
from pathlib import Path

from components.errors import UserError, one_line
from pipelines.workspace.git import GitError, NoRepositoryError, git
from pipelines.workspace.processes import DVC, CommandFailedError, run, stage_environment

log = logging.getLogger(__name__)


def check_root() -> None:
    """Raise UserError if the current folder is not the repository's root."""
    if not Path("params.yaml").is_file():
        raise UserError(
            f"run from the repository's root, the folder of params.yaml. Received: {Path.cwd()}"
        )


def track_with_dvc(folder: Path, keep_open: Sequence[int] = ()) -> None:
    """Run `dvc add` on a folder. Raises UserError if DVC fails.

    Outside of a git repository, DVC's setting core.no_scm is first set to true.
    keep_open: file descriptors that DVC inherits, such as the descriptor of the workspace's lock.
    """
    # With the option --quiet, DVC would not print why it fails.
    command = [*DVC, "add", str(folder)]
    try:
        if not _in_git():  # DVC does not run outside of git without the setting core.no_scm.
            run([*DVC, "config", "--local", "core.no_scm", "true"], stage_environment({}))
            log.info("this is no git repository, so DVC is set to work without git (core.no_scm)")
        run(command, stage_environment({}), log.debug, keep_open)
    except CommandFailedError as error:
        raise UserError(
            f"the images are in {folder}, but DVC does not track them; fix DVC's error, then run "
            f"`dvc add {folder}`. Received: {one_line(error, longest=None)}"
        ) from None


def _in_git() -> bool:
    try:
        git("rev-parse", "--git-dir")
    except GitError as error:
        # If git has another problem than a missing repository, `dvc add` reports the problem.
        return not isinstance(error, NoRepositoryError)
    return True
