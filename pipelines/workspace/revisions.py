"""A commit → the images and the manifest it had, read from git and DVC's cache."""

import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.errors import UserError
from components.manifest.difference import KEYS
from pipelines import artifacts
from pipelines.workspace import dvc_files
from pipelines.workspace.git import GitError, git

TRACKED = "data/raw.dvc"
LOCK = "dvc.lock"
RAW = "data/raw"
# How many commits with the same images are searched for one whose manifest is of these images.
COMMITS_SEARCHED = 20


@dataclass(frozen=True)
class Revision:
    """What data/raw.dvc and dvc.lock said at a commit; an md5 is None where they did not say it."""

    commit: str | None  # None: the workspace as it is now
    images: str | None  # md5 of data/raw when it was added to DVC
    ingested: str | None  # md5 of data/raw when `ingest` read it
    manifest: str | None  # md5 of the manifest that `ingest` wrote

    @property
    def manifest_is_of_images(self) -> bool:
        """Whether the manifest was made from these images."""
        return self.manifest is not None and self.images == self.ingested


def previous_manifest() -> tuple[str, pd.DataFrame] | None:
    """Return the newest commit whose images differ from those of now, and its manifest.

    The manifest has the columns path, label and image_id, which every version of it has. None
    where git, such a commit, or its manifest in DVC's cache is missing. Never raises.
    """
    try:
        revision = newest_with_other_images(current())
        if revision is None or revision.commit is None:
            return None
        manifest = read_manifest(revision)
        return None if manifest is None else (revision.commit, manifest)
    except (GitError, UserError, OSError, ValueError):
        return None


def current() -> Revision:
    """Return what data/raw.dvc and dvc.lock say in the workspace."""
    texts = [dvc_files.read_text(Path(name)) for name in (TRACKED, LOCK)]
    return _revision(None, *texts)


def revision_at(revision: str) -> Revision:
    """Return a revision by name, such as a tag. Raises GitError where git knows no such name."""
    done = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode != 0:
        more = " in this shallow clone, which `git fetch --unshallow` completes" * is_shallow()
        raise GitError(f"git knows no revision {revision!r}{more}")
    return _revision_of(done.stdout.strip())


def newest_with_other_images(now: Revision) -> Revision | None:
    """Return the newest commit whose images differ from those of `now`, or None.

    Images may be committed before `ingest` has run on them. So of the commits with the same
    images, the newest is taken whose manifest was made from them, else the newest.
    Raises GitError where there is no git repository.
    """
    until = "HEAD"
    for commit in _commits("HEAD", TRACKED):
        images = _revision_of(commit).images
        if images not in (None, now.images):
            return _newest_with(images, until)
        until = f"{commit}^"
    return None


def is_shallow() -> bool:
    """Tell whether the clone has only the newest commits."""
    return git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"


def read_manifest(revision: Revision) -> pd.DataFrame | None:
    """Return the manifest of a revision, or None where DVC's cache has no intact one."""
    if revision.manifest is None:
        return None
    content = dvc_files.read_object(revision.manifest)
    return None if content is None else pd.read_parquet(io.BytesIO(content), columns=KEYS)


def _revision(commit: str | None, tracked: str, lock: str) -> Revision:
    return Revision(
        commit=commit,
        images=dvc_files.listing_name_in(tracked),
        ingested=dvc_files.stage_files(lock, "ingest", "deps").get(RAW),
        manifest=dvc_files.stage_files(lock, "ingest", "outs").get(str(artifacts.MANIFEST)),
    )


def _newest_with(images: str | None, until: str) -> Revision | None:
    newest = None
    for revision in map(_revision_of, _commits(until)[:COMMITS_SEARCHED]):
        if revision.images != images:
            break
        if revision.manifest_is_of_images:
            return revision
        newest = newest or revision
    return newest


def _revision_of(commit: str) -> Revision:
    return _revision(commit, _file_at(commit, TRACKED), _file_at(commit, LOCK))


def _file_at(commit: str, name: str) -> str:
    """Return a file of a commit, relative to the current folder; empty where it is missing."""
    return git("show", f"{commit}:./{name}").stdout


def _commits(until: str, *names: str) -> list[str]:
    """Return the commits of the main line that touched a file, newest first."""
    paths = names or (TRACKED, LOCK)
    return git("log", "--first-parent", "--format=%H", until, "--", *paths).stdout.split()
