"""data/raw → data/ingest/manifest.parquet: one row per image file, good or bad."""

from components.data.manifest import build_manifest
from components.params import Ingest
from components.progress import say
from pipelines import artifacts


def run(ingest: Ingest) -> None:
    """Read every image once and write what is known of it."""
    manifest = build_manifest(artifacts.RAW, ingest)
    artifacts.write_table(artifacts.MANIFEST, manifest)
    faulty = int(manifest["fault"].notna().sum())
    classes = manifest["label"].nunique()
    say(f"ingest: {len(manifest)} images in {classes} classes, {faulty} with a fault")
