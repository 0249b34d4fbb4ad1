"""Files that a retraining changed → git commits of only these files, optionally on a new branch."""

import logging
from collections.abc import Sequence
from pathlib import Path

from components.errors import UserError
from pipelines.workspace.git import GitError, NoRepositoryError, git, reason

log = logging.getLogger(__name__)


def prepare_commits(first: Path, branch: str | None) -> bool:
    """Check that git can commit, and create the new branch. Return whether commits are possible.

    first: the path of the file that the first commit will contain.
    branch: the name of a branch to create and check out. With None the current branch stays.
    Outside of a git repository the function logs a message and returns False.
    Raises UserError in the same cases as `can_commit`, or if the branch exists already.
    """
    if not can_commit(first):
        log.info("this is no git repository, so nothing is committed")
        return False
    if branch is not None:
        _run("switch", "--quiet", "--create", branch)
    return True


def can_commit(first: Path) -> bool:
    """Check that git can commit. Return False outside of a git repository.

    first: the path of the file that the first commit will contain.
    Raises UserError if git does not work, if git does not know the user's name and e-mail address,
    or if `first` has uncommitted changes.
    """
    try:
        git("rev-parse", "--git-dir")
    except NoRepositoryError:
        return False
    except GitError as error:
        raise UserError(
            f"git cannot commit; fix git's error, or add --no-commit. Received: {error}"
        ) from None
    _run("var", "GIT_COMMITTER_IDENT")
    if changes := _changes(first):
        raise UserError(
            f"{first} has uncommitted changes; commit them first, because the next commit must "
            f"contain only what is from the champion; or add --no-commit. Received: {changes}"
        )
    return True


def commit_files(files: Sequence[Path], message: str) -> None:
    """Commit the files in `files` that have changes. No other file is committed.

    Files that are staged but not in `files` stay staged.
    Raises UserError if git cannot commit.
    """
    changed = [str(file) for file in files if _changes(file)]
    if changed:
        _run("add", "--", *changed)
        _run("commit", "--quiet", "--only", "--message", message, "--", *changed)
        log.info(f"committed {' and '.join(changed)}: {message}")


def _changes(file: Path) -> str:
    """Return what `git status` prints about a file, or an empty text if the file has no changes."""
    return _run("status", "--porcelain", "--", str(file)).strip()


def _run(*arguments: str) -> str:
    """Run git and return its output. Raises UserError with git's reason if git fails."""
    try:
        done = git(*arguments)
    except GitError as error:
        problem = str(error)
    else:
        if done.returncode == 0:
            return done.stdout
        problem = reason(done)
    raise UserError(
        f"`git {' '.join(arguments)}` fails; fix git's error, or add --no-commit. "
        f"Received: {problem}"
    )
