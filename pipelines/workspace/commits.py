"""Files that a retraining changes → commits of these files alone, on this branch or a new one."""

import logging
from collections.abc import Sequence
from pathlib import Path

from components.errors import UserError
from pipelines.workspace.git import GitError, NoRepositoryError, git, reason

log = logging.getLogger(__name__)


def prepare_commits(first: Path, branch: str | None) -> bool:
    """Begin the branch, if one is named, and return whether `commit_files` can be called later.

    first: the file that will be changed and committed first.
    Without a git repository the log says so, and the result is False. Raises UserError where
    `first` has changes already, the branch exists, or git does not know who commits.
    """
    try:
        git("rev-parse", "--git-dir")
    except NoRepositoryError:
        log.info("this is no git repository, so nothing is committed")
        return False
    except GitError as error:
        raise UserError(f"no commit can be made; add --no-commit. Received: {error}") from None
    _run("var", "GIT_COMMITTER_IDENT")
    if changes := _changes(first):
        raise UserError(
            f"{first} has changes that are not committed; commit them first, so that the next "
            f"commit has nothing but the version in it, or add --no-commit. Received: {changes}"
        )
    if branch is not None:
        _run("switch", "--quiet", "--create", branch)
    return True


def commit_files(files: Sequence[Path], message: str) -> None:
    """Commit those of the files that changed. What else is changed or staged stays as it is."""
    changed = [str(file) for file in files if _changes(file)]
    if changed:
        _run("add", "--", *changed)
        _run("commit", "--quiet", "--only", "--message", message, "--", *changed)
        log.info(f"committed {' and '.join(changed)}: {message}")


def _changes(file: Path) -> str:
    """Return what `git status` says of a file; empty where it is as committed."""
    return _run("status", "--porcelain", "--", str(file)).strip()


def _run(*arguments: str) -> str:
    """Return what git prints. Raises UserError with git's own reason where it fails."""
    try:
        done = git(*arguments)
    except GitError as error:
        problem = str(error)
    else:
        if done.returncode == 0:
            return done.stdout
        problem = reason(done)
    raise UserError(
        f"`git {' '.join(arguments)}` fails; do what git says, or add --no-commit. "
        f"Received: {problem}"
    )
