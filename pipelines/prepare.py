"""splits.parquet, data/raw → data/prepare: pixels and rows of every split, and statistics.json."""

import logging

from components.params.ingest import Ingest
from components.params.prepare import Prepare
from components.params.split import SPLITS
from components.preparation.pixels import prepare_images
from components.preparation.statistics import statistics
from pipelines import artifacts
from pipelines.formats import read_table, write_table, write_tree

log = logging.getLogger(__name__)


def run(ingest: Ingest, prepare: Prepare) -> None:
    """Decode every image once, resize it to the input size of the network, and write its pixels.

    Raises UserError if the stage `split` has not run, if an image cannot be read or has changed, or
    if the disk does not have enough space.
    """
    splits = read_table(artifacts.SPLITS)
    class_names = sorted(splits["label"].unique())
    indices = {name: index for index, name in enumerate(class_names)}
    splits["label_index"] = splits["label"].map(indices).astype("int64")

    for split in SPLITS:
        rows = splits[splits["split"] == split]
        pixels = artifacts.images(split)
        prepare_images(artifacts.RAW, rows, ingest, prepare, pixels, artifacts.STATE)
        write_table(artifacts.rows(split), rows)

    arrays = {split: artifacts.images(split) for split in SPLITS}
    facts = statistics(splits, arrays, prepare)
    # The stage `train` saves these rules with the model, which can then decode images by itself.
    facts["decode"] = ingest.decode.pixel_rules()
    if (rule := ingest.decode.saved_sixteen_bit()) != "high_byte":
        facts["sixteen_bit"] = rule
    write_tree(artifacts.STATISTICS, facts)
    log.info(f"{len(splits)} images of {prepare.size} × {prepare.size} pixels, {prepare.resize}")
