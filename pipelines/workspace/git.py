"""A git command → its exit status and output, or in words why git cannot answer here."""

import logging
import os
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)

TIMEOUT_S = 20
FATAL = 128  # git's exit status where it cannot do what was asked
# English, for reasons are recognised by their words. And reading must take no lock that a commit
# made at the same time needs.
ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


class GitError(Exception):
    """Why git cannot answer: one sentence, git's own where it gives a reason."""


class NoRepositoryError(GitError):
    """The folder is in no git repository."""


def git(*arguments: str, root: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Run git in the folder `root`, for at most 20 s, and return exit status, stdout and stderr.

    A status other than 0 is an answer, too, such as that of an unknown revision.
    Raises NoRepositoryError outside of a repository, and GitError where git is not installed, does
    not answer, or refuses to read the repository (which belongs to another user, say).
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
        raise NoRepositoryError("not a git repository")
    if done.returncode == FATAL and "dubious ownership" in done.stderr:
        raise GitError(reason(done))
    return done


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the first line of what git wrote about its failure."""
    lines = done.stderr.strip().splitlines() or [f"git exits with {done.returncode}"]
    return lines[0].removeprefix("fatal: ")
