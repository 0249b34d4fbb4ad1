"""Folds: what belongs together shares one, evenly in every class, and test has none."""

import numpy as np
import pytest

from components.errors import UserError
from tests.components.splits.split_tables import Case, belong, split, tried, unlike


def test_folds_hold_together_what_belongs_together() -> None:
    folded = aside = 0
    for case in map(Case, range(30)):
        splits = tried(case.after, folds=4)
        if splits is None:
            continue
        rows = splits.rows
        assert rows["fold"].dtype == "Int64"
        assert (rows["fold"].isna() == (rows["split"] == "test")).all()
        assert set(rows["fold"].dropna()) <= {0, 1, 2, 3}
        fold = rows.set_index("path")["fold"].dropna()
        inside = [image for image in case.after if image.path in fold.index]
        numbers = np.array([fold[image.path] for image in inside])
        assert not (belong(inside) & (numbers[:, None] != numbers)).any(), case.seed
        folded, aside = folded + len(inside), aside + len(case.after) - len(rows)
    assert folded > 1000
    assert aside > 50


def test_folds_are_even_in_every_class_and_do_not_follow_the_splits() -> None:
    rows = split(unlike("cat", 1500) + unlike("dog", 500), folds=5).rows
    shares = rows.groupby("label")["fold"].value_counts(normalize=True)
    assert len(shares) == 10
    assert shares.between(0.14, 0.26).all()
    assert rows.groupby("split")["fold"].value_counts(normalize=True).between(0.13, 0.27).all()


def test_without_folds_there_is_no_such_column() -> None:
    assert "fold" not in split(unlike("cat", 50)).rows


def test_a_new_image_leaves_every_fold_as_it_is() -> None:
    images = unlike("cat", 200) + unlike("dog", 200)
    before = split(images[:-20], folds=5).rows.set_index("path")["fold"]
    after = split(images, folds=5).rows.set_index("path")["fold"]
    assert after[before.index].equals(before)


def test_more_folds_than_can_be_filled_are_refused() -> None:
    images = unlike("cat", 12) + unlike("dog", 12)
    with pytest.raises(
        UserError, match=r"split\.folds.*Received: 90 folds; \d+ of them would be empty"
    ):
        split(images, folds=90)
