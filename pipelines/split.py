"""accepted.parquet, duplicates.parquet → data/split: splits, images set aside, shares, leaks.

A leak is an image that has a copy in an earlier split. The order of the splits is train, val, test.
An image that is set aside is in no split.
"""

import logging

from components.params.split import Split
from components.splits.leaks import check_no_leaks
from components.splits.shares import in_words, shares
from components.splits.splits import assign_splits, check_given, given_leaks
from pipelines import artifacts
from pipelines.formats import read_table, write_table

log = logging.getLogger(__name__)


def run(split: Split) -> None:
    """Assign every accepted image to a split or set it aside, so that there is no leak.

    Raises UserError if the stage `validate` has not run, or if a fold (`split.folds`) would have no
    image. Raises UserError if the splits that come with the images have leaks and `split.given` is
    `stop`.
    """
    accepted = read_table(artifacts.ACCEPTED)
    links = read_table(artifacts.DUPLICATES)

    leaks = given_leaks(accepted, links, split)
    # The table of leaks is written before check_given is called, because check_given may stop the
    # run with an error that names this file.
    write_table(artifacts.LEAKS, leaks)
    check_given(leaks, split, artifacts.LEAKS)

    splits = assign_splits(accepted, links, split)
    check_no_leaks(splits.rows, links)
    table = shares(splits.rows, split)

    write_table(artifacts.SPLITS, splits.rows)
    write_table(artifacts.SET_ASIDE, splits.set_aside)
    write_table(artifacts.SHARES, table)
    for line in in_words(splits, table, artifacts.SET_ASIDE):
        log.info(line)
