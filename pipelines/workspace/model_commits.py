"""A model file → its md5 in DVC; this md5 → the git commit whose dvc.lock names it.

At such a commit, `dvc checkout` restores exactly this model. The commit in the lineage of a version
can be another one: the training ran before its results were committed, and perhaps with uncommitted
changes.
"""

import hashlib
from pathlib import Path

from pipelines.workspace.git import GitError, git

LOCK = "dvc.lock"
# Only the newest commits that changed dvc.lock are searched, so that the search takes a second.
COMMITS_SEARCHED = 1_000
# Not the refs of `dvc exp run`: their commits disappear when DVC removes the experiment.
REFS = ("HEAD", "--branches", "--tags", "--remotes")


def md5_of_file(path: Path) -> str:
    """Return the md5 of a file, 32 hex digits, with which DVC names the file in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def commit_of_model(md5: str) -> str | None:
    """Return the hash of the oldest commit whose dvc.lock names the model; None if none is found.

    md5: the md5 of the model file. All branches and tags are searched, but at most the
    COMMITS_SEARCHED newest commits that changed dvc.lock. Returns None, too, if git does not work.
    """
    try:
        listed = git("log", f"--max-count={COMMITS_SEARCHED}", "--format=%H", *REFS, "--", LOCK)
        commits = listed.stdout.split()
        if not commits:
            return None
        found = git("grep", "-l", "-F", "-e", md5, *commits, "--", LOCK).stdout.split()
    except GitError:
        return None
    # A line is `<commit>:<path>`, and the lines have the order of `commits`, newest first.
    return found[-1].partition(":")[0] if found else None
