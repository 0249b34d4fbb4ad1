"""data/raw → data/ingest/manifest.parquet: one row per image, also for faulty images."""

import logging
from collections.abc import Iterator

import pandas as pd

from components.images.signatures import way_out
from components.manifest.sixteen_bit import sixteen_bit_values
from components.manifest.table import build_manifest
from components.params.ingest import Ingest
from components.words import count_text, printable
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
    for note in _unsupported(manifest):
        log.warning(note)
    for note in (_further_pages(manifest), _unused_bits(manifest, ingest)):
        if note:
            log.warning(note)


def _unsupported(manifest: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each format that is not supported: what it is, and what to do."""
    rows = manifest[manifest["fault"] == "unsupported_format"]
    for name, files in rows.groupby("format"):
        first = printable(files["path"].iloc[0])
        yield f"{count_text(len(files), 'file')} such as {first}: {way_out(str(name))}"


def _further_pages(manifest: pd.DataFrame) -> str:
    """Return a sentence if there are TIFFs or GIFs with further pictures, otherwise an empty text.

    Other formats with several pictures are faults, or are photos with a depth map.
    """
    several = manifest["format"].isin(("tiff", "gif")) & (manifest["frames"].fillna(1) > 1)
    files = manifest.loc[several & manifest["fault"].isna(), "path"]
    if files.empty:
        return ""
    return (
        f"{count_text(len(files), 'file has', 'files have')} several pages or frames, such as "
        f"{printable(files.iloc[0])}, and only the first is used; to use the others, save each "
        "as a file"
    )


def _unused_bits(manifest: pd.DataFrame, ingest: Ingest) -> str:
    """Return a sentence if `high_byte` leaves only a few levels, otherwise an empty text."""
    rows = manifest[(manifest["bit_depth"] == 16) & manifest["fault"].isna()]
    if rows.empty or ingest.decode.sixteen_bit != "high_byte":
        return ""
    paths = rows["path"].tolist()
    values = sixteen_bit_values(artifacts.RAW, paths, ingest.decode, artifacts.STATE)
    return values.unused_bits() if values else ""
