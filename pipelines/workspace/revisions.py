"""A commit → the images and the manifest of this commit, read from git and DVC's cache.

The manifest is the table of all images that the stage `ingest` writes.
"""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.errors import UserError
from components.manifest.difference import KEYS
from pipelines import artifacts
from pipelines.workspace import dvc_files
from pipelines.workspace.git import GitError, NoRepositoryError, git, reason

log = logging.getLogger(__name__)

TRACKED = "data/raw.dvc"
LOCK = "dvc.lock"
RAW = "data/raw"
# At most this many commits with the same images are read to find a manifest that was made from
# these images.
COMMITS_SEARCHED = 20
# What git says about a file that a commit does not have.
NO_FILE = ("does not exist in", "exists on disk, but not in")


class UnknownRevisionError(GitError):
    """git works, but does not know a revision."""


@dataclass(frozen=True)
class Revision:
    """The md5 values in data/raw.dvc and dvc.lock at one commit. A missing md5 is None.

    commit: the hash of the commit; None means the files of the workspace as they are now.
    images: the md5 of data/raw when it was added to DVC, from data/raw.dvc.
    ingested: the md5 of data/raw when the stage `ingest` read it, from dvc.lock.
    manifest: the md5 of the manifest that the stage `ingest` wrote, from dvc.lock.
    """

    commit: str | None
    images: str | None
    ingested: str | None
    manifest: str | None

    @property
    def manifest_is_of_images(self) -> bool:
        """Whether the stage `ingest` made the manifest from `images`."""
        return self.manifest is not None and self.images == self.ingested


def previous_manifest() -> tuple[str, pd.DataFrame] | None:
    """Return the newest commit whose images differ from the current images, and its manifest.

    Only the columns path, label and image_id are returned, because the manifests of all versions of
    Fovea have these columns.
    Returns None if git does not work here, if no commit has other images, or if the manifest of the
    commit is damaged or missing in DVC's cache. No error is raised in these cases. If there is a
    repository and git cannot read it, a warning has git's reason.
    """
    try:
        revision = newest_with_other_images(current())
        if revision is None or revision.commit is None:
            return None
        manifest = read_manifest(revision)
        return None if manifest is None else (revision.commit, manifest)
    except NoRepositoryError:
        return None
    except GitError as error:
        log.warning(f"the images are not compared with earlier images, because git fails: {error}")
        return None
    except (UserError, OSError, ValueError):
        return None


def current() -> Revision:
    """Return the md5 values in data/raw.dvc and dvc.lock in the workspace."""
    texts = [dvc_files.read_text(Path(name)) for name in (TRACKED, LOCK)]
    return _revision(None, *texts)


def revision_at(revision: str) -> Revision:
    """Return the md5 values at the commit that `revision` names.

    Raises UnknownRevisionError if there is no such commit, and GitError if git fails.

    revision: a name that git knows, such as a tag, a branch or the hash of a commit.
    """
    done = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode != 0:
        more = "; this clone is shallow, `git fetch --unshallow` fetches the rest" * is_shallow()
        raise UnknownRevisionError(f"git knows no revision {revision!r}{more}")
    return _revision_of(done.stdout.strip())


def newest_with_other_images(now: Revision) -> Revision | None:
    """Return a commit with the newest images that differ from the images of `now`, or None.

    Several commits can have the same images. For example, one commit adds the images, and a later
    commit adds the manifest that the stage `ingest` made from the images. The result is the newest
    commit that has these images and a manifest made from them. If no commit has such a manifest,
    the result is the newest commit that has these images.
    Raises GitError if git does not work here, for example outside of a git repository.
    """
    until = "HEAD"
    for commit in _commits("HEAD", TRACKED):
        images = _revision_of(commit).images
        if images not in (None, now.images):
            return _newest_with(images, until)
        until = f"{commit}^"
    return None


def is_shallow() -> bool:
    """Return whether this clone is shallow, that is, has only the newest commits.

    Raises GitError if git cannot answer.
    """
    return git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"


def read_manifest(revision: Revision) -> pd.DataFrame | None:
    """Return the columns path, label and image_id of the manifest of a revision.

    Returns None if dvc.lock has no manifest, or if the manifest is missing in DVC's cache or
    damaged.
    """
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
    """Return the newest commit up to `until` that has `images` and a manifest made from them.

    If no commit has such a manifest, return the newest commit that has `images`. The search stops
    at the first commit with different images, or after COMMITS_SEARCHED commits.
    """
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
    """Return the text of a file at a commit, or an empty text if the commit has no such file.

    name: the path of the file, relative to the current folder. Raises GitError if git fails.
    """
    done = git("show", f"{commit}:./{name}")
    if done.returncode != 0 and not any(text in done.stderr for text in NO_FILE):
        raise GitError(reason(done))
    return done.stdout


def _commits(until: str, *names: str) -> list[str]:
    """Return the hashes of the commits up to `until` that changed one of the files, newest first.

    names: the paths of the files. Without names, the files are data/raw.dvc and dvc.lock.
    At a merge commit, only the history of the first parent is followed. Raises GitError if git
    fails.
    """
    paths = names or (TRACKED, LOCK)
    done = git("log", "--first-parent", "--format=%H", until, "--", *paths)
    # Before the first commit, HEAD names no commit.
    if done.returncode != 0 and "bad revision" not in done.stderr:
        raise GitError(reason(done))
    return done.stdout.split()
