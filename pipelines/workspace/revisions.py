"""git's history → which images and which manifest a revision had; no DVC process is started."""

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
# Commits with the same images that are looked through for one whose manifest is theirs.
SEARCHED = 20


@dataclass(frozen=True)
class Revision:
    """What stood in the files that DVC writes; each md5 is None where it did not say."""

    commit: str | None  # None: the workspace as it is now
    images: str | None  # md5 of data/raw, as added
    ingested: str | None  # md5 of data/raw, as `ingest` read it
    manifest: str | None  # md5 of what `ingest` wrote

    @property
    def in_step(self) -> bool:
        """Whether the manifest is that of the images."""
        return self.manifest is not None and self.images == self.ingested


def previous_manifest() -> tuple[str, pd.DataFrame] | None:
    """Return the newest commit with other images than data/raw.dvc has now, and its manifest.

    Of the manifest the columns path, label and image_id are read, which every revision has. None
    without git, such a commit, or its manifest in DVC's cache. Never raises.
    """
    try:
        revision = newest_other(present())
        if revision is None or revision.commit is None:
            return None
        manifest = cached_manifest(revision)
        return None if manifest is None else (revision.commit, manifest)
    except (GitError, UserError, OSError, ValueError):
        return None


def present() -> Revision:
    """Return what data/raw.dvc and dvc.lock say in the workspace."""
    texts = [dvc_files.read_text(Path(name)) for name in (TRACKED, LOCK)]
    return _revision(None, *texts)


def at(revision: str) -> Revision:
    """Return what a revision had. Raises GitError where git knows no such revision."""
    named = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if named.returncode != 0:
        more = " in this shallow clone, which `git fetch --unshallow` completes" * is_shallow()
        raise GitError(f"git knows no revision {revision!r}{more}")
    return _committed(named.stdout.strip())


def newest_other(now: Revision) -> Revision | None:
    """Return the newest commit whose images are others than those of `now`, or None.

    Images may have been committed before `ingest` ran on them: of the commits with these images
    the newest is taken whose manifest is theirs, else the newest.
    Raises GitError where there is no git repository.
    """
    until = "HEAD"
    for commit in _commits("HEAD", TRACKED):
        images = _committed(commit).images
        if images not in (None, now.images):
            return _newest_with(images, until)
        until = f"{commit}^"
    return None


def is_shallow() -> bool:
    """Tell whether the clone has but the newest commits."""
    return git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"


def cached_manifest(revision: Revision) -> pd.DataFrame | None:
    """Return the manifest of a revision, or None where DVC's cache has it not, or damaged."""
    if revision.manifest is None:
        return None
    content = dvc_files.cached(revision.manifest)
    return None if content is None else pd.read_parquet(io.BytesIO(content), columns=KEYS)


def _revision(commit: str | None, tracked: str, lock: str) -> Revision:
    return Revision(
        commit=commit,
        images=dvc_files.added_md5(tracked),
        ingested=dvc_files.locked(lock, "ingest", "deps").get(RAW),
        manifest=dvc_files.locked(lock, "ingest", "outs").get(str(artifacts.MANIFEST)),
    )


def _newest_with(images: str | None, until: str) -> Revision | None:
    newest = None
    for revision in map(_committed, _commits(until)[:SEARCHED]):
        if revision.images != images:
            break
        if revision.in_step:
            return revision
        newest = newest or revision
    return newest


def _committed(commit: str) -> Revision:
    return _revision(commit, _shown(commit, TRACKED), _shown(commit, LOCK))


def _shown(commit: str, name: str) -> str:
    """Return a file of a commit, relative to where we are; empty where the commit has it not."""
    return git("show", f"{commit}:./{name}").stdout


def _commits(until: str, *names: str) -> list[str]:
    """Return the commits of the main line that touched a file, newest first."""
    paths = names or (TRACKED, LOCK)
    return git("log", "--first-parent", "--format=%H", until, "--", *paths).stdout.split()
