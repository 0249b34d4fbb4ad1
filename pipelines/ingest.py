"""data/raw → data/ingest/manifest.parquet: one row per picture, good or bad."""

from components.manifest.table import build_manifest
from components.params.ingest import Ingest
from components.progress import say
from pipelines import artifacts
from pipelines.formats import write_table
from pipelines.workspace.dvc_files import recorded


def run(ingest: Ingest) -> None:
    """Read every new image once and write what is known of all."""
    memory = artifacts.STATE / "known.sqlite"
    manifest = build_manifest(artifacts.RAW, ingest, memory, recorded(artifacts.RAW))
    write_table(artifacts.MANIFEST, manifest)
    faulty = int(manifest["fault"].notna().sum())
    classes = manifest["label"].str.strip().replace("", None).nunique()
    say(f"ingest: {len(manifest)} images in {classes} classes, {faulty} with a fault")
