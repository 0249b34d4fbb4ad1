"""The folder of the code → its git commit, which every worker of a search must have, too."""

from pathlib import Path

from components.errors import UserError
from pipelines.workspace.git import GitError, git, reason

ROOT = Path(__file__).parents[2]
# DVC writes these files while the stages run. No worker reads them.
WRITTEN_BY_DVC = ("dvc.lock", "data/raw.dvc")


def clean_commit(root: Path = ROOT) -> str:
    """Return the commit of the code in the folder `root`, as 40 hex digits.

    Raises UserError if git cannot tell it, or if a file has uncommitted changes or is in no commit.
    The files in WRITTEN_BY_DVC may have changes.
    """
    others = [f":(exclude){name}" for name in WRITTEN_BY_DVC]
    try:
        head = git("rev-parse", "--verify", "HEAD", root=root)
        status = git("status", "--porcelain", "--", ".", *others, root=root)
    except GitError as error:
        raise _unknown(root, str(error)) from None
    for done in (head, status):
        if done.returncode:
            raise _unknown(root, reason(done))
    if changed := [line[3:] for line in status.stdout.splitlines()]:
        more = f" and {len(changed) - 5} more" * (len(changed) > 5)
        raise UserError(
            "FOVEA_SEARCH_EXECUTOR: workers on other machines need the code of a commit, and files "
            f"in {root} have uncommitted changes; commit or remove them. "
            f"Received: {', '.join(changed[:5])}{more}"
        )
    return head.stdout.strip()


def check_commit(commit: str, root: Path = ROOT) -> None:
    """Raise UserError if the code in the folder `root` is not that of `commit`."""
    if (here := clean_commit(root)) != commit:
        raise UserError(
            f"FOVEA_SEARCH_EXECUTOR: the search needs the code of commit {commit}, and this worker "
            f"has another one; run `git fetch` and `git checkout {commit}` in {root}. "
            f"Received: {here}"
        )


def _unknown(root: Path, why: str) -> UserError:
    return UserError(
        "FOVEA_SEARCH_EXECUTOR: workers on other machines need the code of a commit, and git does "
        f"not know it; run Fovea from a clone of its repository. Received: {root}, {why}"
    )
