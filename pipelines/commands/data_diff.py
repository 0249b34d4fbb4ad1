"""A commit → what changed in the images since this commit, as tables or as JSON.

The manifest of the commit is compared with the current manifest. A manifest is the table of all
images that the stage `ingest` writes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from components.errors import UserError
from components.manifest.difference import EXAMPLES, KEYS, Difference, difference
from components.words import count_text
from pipelines import artifacts
from pipelines.commands.console import show_json, show_lines, show_table
from pipelines.formats import read_table
from pipelines.workspace import revisions
from pipelines.workspace.git import GitError
from pipelines.workspace.processes import DVC, capture, dvc_error
from pipelines.workspace.raw_data import check_root
from pipelines.workspace.remote import check_default_remote
from pipelines.workspace.revisions import Revision

CLASSES_SHOWN = 30
COLUMNS = {
    "class": "label",
    ">before": "before",
    ">after": "after",
    ">added": "added",
    ">removed": "removed",
    ">relabelled to": "relabelled_to",
    ">relabelled from": "relabelled_from",
    ">moved": "moved",
    ">changed": "changed",
}


def show_difference(revision: str | None, as_json: bool) -> None:
    """Print what changed in the images since a commit, as tables or as JSON.

    revision: the name of a commit, branch or tag. None means the newest commit whose images differ
    from the current images.
    Raises UserError if the current folder is not the root of a repository, if git does not know the
    revision, if `revision` is None and the images of no commit differ from the current images, if
    the commit has no manifest, if its manifest is neither in DVC's cache nor in the remote, or if
    the current manifest is missing or damaged.
    """
    check_root()
    now = revisions.current()
    then = _revision(revision, now)
    new = read_table(artifacts.MANIFEST)
    changes = difference(_manifest(then), new)
    notes = list(_notes(then, now))
    if as_json:
        tree = {"revision": then.commit, "notes": notes, **changes.tree()}
        show_json(tree)
    else:
        _show(changes, then, notes)


def _revision(asked: str | None, now: Revision) -> Revision:
    try:
        then = (
            revisions.newest_with_other_images(now)
            if asked is None
            else revisions.revision_at(asked)
        )
        shallow = (
            " (this clone is shallow; `git fetch --unshallow` fetches older commits)"
            * revisions.is_shallow()
        )
    except revisions.UnknownRevisionError as error:
        raise UserError(
            f"name a commit, a branch or a tag of this git repository. Received: {error}"
        ) from None
    except GitError as error:
        raise UserError(
            f"`fovea data diff` reads git's history, and git fails; fix git's error. "
            f"Received: {error}"
        ) from None
    if then is None:
        raise UserError(
            f"no commit has images that differ from the images in {revisions.TRACKED}{shallow}; "
            f"commit {revisions.TRACKED} and dvc.lock after each change of the images, or name a "
            "commit. Received: no commit"
        )
    if then.manifest is None:
        raise UserError(
            "name a commit that was made after `dvc repro`, because its dvc.lock must have a "
            f"manifest; `git log dvc.lock` lists such commits{shallow}. "
            f"Received: {asked or then.commit}"
        )
    return then


def _manifest(revision: Revision) -> pd.DataFrame:
    """Return the manifest of a revision, from DVC's cache or, if it is not there, from the remote.

    The table has the columns path, label and image_id. Raises UserError if neither the cache nor
    the remote has the manifest, or if the remote does not answer.
    """
    manifest = revisions.read_manifest(revision)
    if manifest is not None:
        return manifest
    check_default_remote()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.parquet"
        source = ["--rev", str(revision.commit), "--config", ".dvc/config", "."]
        command = [*DVC, "get", "--out", str(file), *source, str(artifacts.MANIFEST)]
        done = capture(*command)
        if done.returncode == 0:
            return pd.read_parquet(file, columns=KEYS)
    raise UserError(
        "the manifest of this commit is not in DVC's cache, and `dvc get` cannot fetch it "
        f"({dvc_error(done.stderr)}); make it again (git checkout, dvc checkout, dvc repro "
        f"ingest). Received: {revision.commit}"
    )


def _notes(then: Revision, now: Revision) -> Iterator[str]:
    if not now.manifest_is_of_images:
        yield "the manifest was not made from the current data/raw; run `dvc repro ingest`"
    if not then.manifest_is_of_images:
        yield (
            "the manifest in the commit was not made from the images in the commit, because "
            "data/raw.dvc was committed before `dvc repro`"
        )


def _show(changes: Difference, then: Revision, notes: list[str]) -> None:
    show_lines(*notes, style="yellow")
    since = str(then.commit)[:12]
    if changes.is_empty:
        show_lines(f"the same {changes.unchanged:,} images as in {since}")
        return
    rows = changes.per_class
    touched = rows[(rows.drop(columns=["label", "before", "after"]) != 0).any(axis=1)]
    cells = touched.head(CLASSES_SHOWN)[list(COLUMNS.values())].astype("str").to_numpy()
    show_table(f"images now, compared with {since}", COLUMNS, map(tuple, cells))
    more = len(touched) - CLASSES_SHOWN
    same = len(rows) - len(touched)
    show_lines(*[f"and {more} more classes that changed"] * (more > 0))
    alike = f"{count_text(changes.unchanged, 'image')} and {count_text(same, 'class', 'classes')}"
    show_lines(f"{alike} did not change")
    for kind, table in changes.tables.items():
        if len(table):
            show_lines(f"{kind}: {len(table):,}", style="bold")
            show_lines(*(f"  {_example(row)}" for row in table.head(EXAMPLES).to_dict("records")))


def _example(row: dict[str, str]) -> str:
    """Return a changed image as text: its path, or `old path → new path` if the path changed.

    If the label changed, the old and the new label follow in brackets. row: a row of a table in
    `Difference.tables`, as column → value.
    """
    if "old_path" not in row:
        return row["path"]
    moved = row["path"] if row["path"] == row["old_path"] else f"{row['old_path']} → {row['path']}"
    labels = f" ({row['old_label']} → {row['label']})" * (row["label"] != row["old_label"])
    return f"{moved}{labels}"
