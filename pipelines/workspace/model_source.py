"""A version's commit and the md5 of its model file → the commits and the dvc.lock that made it.

A model often has two commits. Example: commit a1 adds images and params. `dvc repro` trains a model
and registers it as version 3, which names a1. Then commit b2 adds the new dvc.lock. The code that
made the model is in a1 (and in b2), and the hashes of its results are in the dvc.lock of b2.
"""

from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from components.tracking.runs import NO_VALUE
from pipelines.workspace import dvc_files
from pipelines.workspace.git import GitError, git
from pipelines.workspace.model_commits import commit_of_model
from pipelines.workspace.revisions import LOCK, is_shallow


@dataclass(frozen=True)
class Source:
    """Where the code and the hashes of a model are.

    lock: the text of the dvc.lock that lists the model. lock_commit: the commit of this dvc.lock;
    None means that it is the file of the workspace, which is not committed. commits: the commits
    that may have the model's code, the likeliest first; there is at least one.
    """

    lock: str
    lock_commit: str | None
    commits: tuple[str, ...]


def find_source(named: str, md5: str, called: str) -> Source:
    """Return the commits and the dvc.lock of a model.

    named: the version's tag `git.commit`: a hash, or a text that says why there is none.
    md5: the md5 of the model file. called: the version in words, for messages.
    If several commits have a dvc.lock that lists the model, the result is the oldest, because a
    later commit may have got the same model from other code.
    Raises UserError if git cannot answer, if no dvc.lock lists the model, or if none of the commits
    is in this clone.
    """
    try:
        return _find_source(named, md5, called)
    except GitError as error:
        raise UserError(
            f"git must answer, because the code of {called} is in a commit; fix git's error, or "
            f"use a clone of the project. Received: {error}"
        ) from None


def _find_source(named: str, md5: str, called: str) -> Source:
    lock_commit = commit_of_model(md5)
    lock = _lock_at(lock_commit) if lock_commit else dvc_files.read_text(Path(LOCK))
    # If the lock is not committed, the code may be in a commit that came after the registration.
    likely = [named, lock_commit or "HEAD"]
    commits = tuple(dict.fromkeys(hash_ for name in likely if (hash_ := _full_hash(name))))
    if md5 in dvc_files.outs_in_lock(lock).values() and commits:
        return Source(lock, lock_commit, commits)
    if not _full_hash(named) and not named.startswith(NO_VALUE):
        raise UserError(
            f"the commit of {called} is not in this clone; {_fetch()} fetches it if it was "
            f"pushed. Received: {named}"
        )
    raise UserError(
        f"no {LOCK} lists the model of {called}, neither in a commit of this clone nor in the "
        f"workspace, so there is nothing to compare with; {_fetch()} fetches the commits of "
        f"others; in the clone that trained the model, commit {LOCK} after each run. "
        f"Received: md5 {md5}, commit {named}"
    )


def _lock_at(commit: str) -> str:
    return git("show", f"{commit}:./{LOCK}").stdout


def _full_hash(name: str) -> str:
    """Return the full hash of a commit; an empty text if this clone does not have the commit."""
    return git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    ).stdout.strip()


def _fetch() -> str:
    return "`git fetch --unshallow`" if is_shallow() else "`git fetch --all`"
