"""data/raw → data/ingest/manifest.parquet: one row per image, also for faulty images."""

import logging

from components.manifest.table import build_manifest
from components.params.ingest import Ingest
from pipelines import artifacts
from pipelines.formats import write_table
from pipelines.workspace.dvc_files import recorded_files

log = logging.getLogger(__name__)


def run(ingest: Ingest) -> None:
    """Write the manifest, a table with one row for every image.

    An image is read only if it is new or was changed since the last run.
    Raises UserError if data/raw or data/raw.dvc cannot be read, or if the md5 of a file in data/raw
    differs from the md5 that DVC recorded.
    """
    manifest = build_manifest(artifacts.RAW, ingest, artifacts.STATE, recorded_files(artifacts.RAW))
    write_table(artifacts.MANIFEST, manifest)
    faulty = int(manifest["fault"].notna().sum())
    classes = manifest["label"].str.strip().replace("", None).nunique()
    log.info(f"{len(manifest)} images in {classes} classes, {faulty} with a fault")
