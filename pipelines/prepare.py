"""splits.parquet, data/raw → data/prepare: pixels and rows of every split, and statistics."""

from components.data.prepared import prepare_images, statistics
from components.data.splitting.sides import SIDES
from components.params import Ingest, Prepare
from components.progress import say
from pipelines import artifacts


def run(ingest: Ingest, prepare: Prepare) -> None:
    """Decode every image once and keep it at the size that the network sees."""
    splits = artifacts.read_table(artifacts.SPLITS)
    class_names = sorted(splits["label"].unique())
    indices = {name: index for index, name in enumerate(class_names)}
    splits["label_index"] = splits["label"].map(indices).astype("int64")
    for side in SIDES:
        rows = splits[splits["split"] == side]
        prepare_images(artifacts.RAW, rows, ingest, prepare, artifacts.images(side))
        artifacts.write_table(artifacts.rows(side), rows)
    arrays = {side: artifacts.images(side) for side in SIDES}
    artifacts.write_tree(artifacts.STATISTICS, statistics(splits, arrays, prepare))
    say(
        f"prepare: {len(splits)} images of {prepare.size} × {prepare.size} pixels, {prepare.resize}"
    )
