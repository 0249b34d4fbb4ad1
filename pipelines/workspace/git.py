"""A git command → its exit status and output, or an error that says why git cannot answer."""

import logging
import os
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)

TIMEOUT_S = 20
FATAL = 128  # git's exit status after a fatal error
NOT_FOUND = "not a git repository (or any"  # the folder and the folders above it have no repository
ADD_SAFE = "git config --global --add safe.directory"
# LC_ALL makes git write English messages, because this module searches for English words in them.
# GIT_OPTIONAL_LOCKS stops `git status` from taking a lock that a commit may need at the same time.
ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


class GitError(Exception):
    """git cannot answer. The message says why."""


class NoRepositoryError(GitError):
    """The folder is not in a git repository."""


def git(*arguments: str, root: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run git in the folder `root`, for at most 20 s, and return exit status, stdout and stderr.

    An exit status other than 0 usually raises no error. For example, the exit status is not 0 if
    git does not know a revision.
    Raises NoRepositoryError outside of a repository. Raises GitError if git is not installed, does
    not answer in time, or refuses to read the repository, for example because it belongs to another
    user or is damaged. A repository that git cannot read never counts as no repository.
    """
    command = ["git", "-C", str(root), *arguments]
    log.debug(f"runs: {' '.join(command)}")
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise GitError(f"git does not answer: {error}") from None
    if done.returncode == FATAL and "not a git repository" in done.stderr:
        raise _no_repository(done, root)
    if done.returncode == FATAL and "dubious ownership" in done.stderr:
        commands = [line.strip() for line in done.stderr.splitlines() if ADD_SAFE in line]
        raise GitError(
            "; ".join([reason(done), *(f"if you trust it: {line}" for line in commands)])
        )
    return done


def _no_repository(done: subprocess.CompletedProcess[str], root: Path) -> GitError:
    """Return the error for a git that found no repository.

    git also says `not a git repository` if GIT_DIR or the file `.git` of a submodule names a folder
    that is missing, or if the folder `.git` is damaged or may not be read.
    """
    if NOT_FOUND not in done.stderr:
        return GitError(reason(done))
    folders = [root.absolute(), *root.absolute().parents]
    unread = next((folder for folder in folders if os.path.lexists(folder / ".git")), None)
    if unread is None or os.environ.get("GIT_CEILING_DIRECTORIES"):
        return NoRepositoryError("not a git repository")
    if "filesystem boundary" in done.stderr:
        return GitError(
            f"git does not look for {unread}/.git on another file system; "
            "if it is yours: export GIT_DISCOVERY_ACROSS_FILESYSTEM=1"
        )
    return GitError(f"git cannot use {unread}/.git; check its owner and rights, or clone again")


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return why git failed: the first line that git wrote to stderr, or its exit status."""
    lines = done.stderr.strip().splitlines() or [f"git exits with {done.returncode}"]
    return lines[0].removeprefix("fatal: ")
