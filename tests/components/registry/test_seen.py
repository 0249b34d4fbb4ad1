"""What a model has seen: images, copies, weights that it started from, and what is left of test."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.errors import UserError
from components.registry.seen import (
    DataSet,
    Seen,
    data_set,
    nothing_seen,
    pixel_hashes,
    read_seen,
    seen_in_training,
    seen_rows,
    unseen_images,
    write_seen,
)
from components.registry.seen_store import keep_seen, seen_before, seen_by
from components.registry.versions import Version, find_version
from components.splits.splits import Splits
from components.tracking.connection import client
from tests.components.splits.split_tables import Case, Image, accepted_of, links_of, tried, unlike

A, B, C, D, E = unlike("cat", 5)
# B is a near copy of A, and C is one of B. C is not like A.
B, C = replace(B, picture=A.picture + 0.9), replace(C, picture=A.picture + 1.8)


def data_of(images: list[Image], split_of: Mapping[str, str]) -> DataSet:
    """The tables of these images; images that `split_of` does not name are in no split."""
    manifest = accepted_of(images)
    manifest["group"] = [image.group for image in images]
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in manifest["pixels_id"]]
    manifest["pixels_id"] = digests
    splits = pd.DataFrame({"path": list(split_of), "split": list(split_of.values())})
    return data_set(manifest, splits, links_of(images))


def splits_of(splits: Splits) -> dict[str, str]:
    return dict(zip(splits.rows["path"], splits.rows["split"], strict=True))


def train_on(*images: Image, others: tuple[Image, ...] = ()) -> Seen:
    """What a model has seen that was trained on these images, beside others in no split."""
    split_of = {image.path: "train" for image in images}
    return seen_in_training(data_of([*images, *others], split_of))


def seen_paths(images: list[Image], seen: Seen) -> list[str]:
    data = data_of(images, {})
    return data.images["path"][seen_rows(data, seen)].tolist()


def test_images_of_train_and_val_are_seen_and_those_of_test_are_not() -> None:
    data = data_of([A, D, E], {A.path: "train", D.path: "val", E.path: "test"})
    assert seen_rows(data, seen_in_training(data)).tolist() == [True, True, False]


def test_the_same_pixels_under_another_name_are_seen() -> None:
    renamed = replace(D, path="new/name.png")
    assert seen_paths([renamed, E], train_on(D)) == [renamed.path]


def test_a_near_copy_is_seen_and_a_copy_of_a_copy_is_not() -> None:
    assert seen_paths([A, B, C], train_on(A)) == [A.path, B.path]


def test_a_near_copy_is_seen_even_if_the_image_itself_was_deleted() -> None:
    """B was set aside as a copy of A. Then A is deleted, and B gets into test."""
    assert seen_paths([B, C], train_on(A, others=(B, C))) == [B.path]
    assert seen_paths([B, C], train_on(A)) == []


def test_another_image_of_a_seen_patient_is_seen() -> None:
    one, two = replace(D, group="patient 1"), replace(E, group="patient 1")
    assert seen_paths([A, one, two], train_on(one)) == [one.path, two.path]


def test_no_model_has_seen_the_test_images_of_its_own_splits() -> None:
    """Whatever chains, series, groups and given splits there are; so nothing is left out."""
    checked = 0
    for case in [Case(seed, given=seed % 2 == 0) for seed in range(10)]:
        if splits := tried(case.after, given="set_aside"):
            data = data_of(case.after, splits_of(splits))
            seen = seen_rows(data, seen_in_training(data))
            assert not seen[data.images["split"] == "test"].any(), case.seed
            assert seen[data.images["split"].isin(["train", "val"])].all(), case.seed
            checked += 1
    assert checked > 6


def test_images_that_arrive_put_no_seen_image_into_test_but_another_seed_does() -> None:
    shares = []
    for case in map(Case, range(8)):
        before, grown = tried(case.before), tried(case.after)
        reshuffled = tried(case.after, seed=2)
        # A class without an image in some split gets images of another; these can move back.
        if before and grown and reshuffled and not before.moves:
            seen = seen_in_training(data_of(case.before, splits_of(before)))
            for splits in (grown, reshuffled):
                data = data_of(case.after, splits_of(splits))
                in_test = (data.images["split"] == "test").to_numpy()
                shares.append(seen_rows(data, seen)[in_test].mean())
    assert len(shares) > 5
    assert max(shares[::2]) == 0
    assert np.mean(shares[1::2]) > 0.5


def compared(images: int, seen: int) -> tuple[int, bool, str]:
    """Test on `images` images of two classes; version 3 has seen the first `seen` of one class."""
    test = [image for label in ("cat", "dog") for image in unlike(label, images)]
    data = data_of(test, {image.path: "test" for image in test})
    paths = [image.path for image in test]
    rows = pd.DataFrame({"path": paths, "label_index": np.repeat([0, 1], images)})
    models = [("the new model", nothing_seen()), ("version 3", train_on(*test[:seen]))]
    unseen = unseen_images(rows, data, models)
    assert not unseen.rows[:seen].any()
    return int(unseen.rows.sum()), unseen.enough, "; ".join(unseen.reasons)


@pytest.mark.parametrize(
    ("images", "seen", "enough"),
    [(20, 10, True), (20, 11, False), (3, 1, True), (3, 2, False), (1, 1, False), (9, 9, False)],
)
def test_a_comparison_needs_half_of_the_images_of_every_class(
    images: int, seen: int, enough: bool
) -> None:
    assert compared(images, seen)[:2] == (2 * images - seen, enough)


@pytest.mark.parametrize(("seen", "enough"), [(250, True), (251, False)])
def test_a_hundred_images_of_a_class_are_enough(seen: int, enough: bool) -> None:
    test = pd.DataFrame({"path": [str(n) for n in range(350)], "label_index": 0})
    ids = [f"{n:016x}" + 48 * "0" for n in range(350)]
    images = pd.DataFrame({"path": test["path"], "pixels_id": ids, "group": None, "split": "test"})
    hashes = np.arange(seen, dtype=np.uint64)
    models = [("version 3", Seen(hashes, hashes[:0]))]
    assert unseen_images(test, DataSet(images, links_of([])), models).enough == enough


def test_the_reasons_have_the_figure_and_the_model() -> None:
    assert compared(20, 0) == (40, True, "")
    assert compared(20, 2)[2] == (
        "5 % of the test images (2 of 40) were in the training of version 3, or are copies of such "
        "images: they are left out of the comparison"
    )
    assert compared(20, 20)[2] == (
        "50 % of the test images (20 of 40) were in the training of version 3, or are copies of "
        "such images: too few images are left to compare"
    )


def test_the_training_of_the_weights_at_the_start_was_seen_too() -> None:
    both = train_on(D) | replace(train_on(E), unknown=("version 1 of cats",))
    assert seen_paths([A, D, E], both) == [D.path, E.path]
    assert both.unknown == ("version 1 of cats",)


def test_a_list_is_read_as_it_was_written_and_is_small(tmp_path: Path) -> None:
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(100_000)]
    hashes = np.unique(pixel_hashes(pd.Series(names)))
    seen = Seen(hashes[1_000:], hashes[:1_000], ("version 1 of digits",))
    write_seen(tmp_path / "seen.parquet", seen)
    read = read_seen(tmp_path / "seen.parquet")
    assert (read.images == seen.images).all()
    assert (read.copies == seen.copies).all()
    assert read.unknown == seen.unknown
    assert (tmp_path / "seen.parquet").stat().st_size < 700_000
    write_seen(tmp_path / "again.parquet", seen)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "seen.parquet").read_bytes()


@pytest.fixture
def version(registered: Callable[..., int]) -> Version:
    return find_version("digits", str(registered(b"one")))


def test_a_version_keeps_the_first_list_that_it_gets(version: Version) -> None:
    assert seen_by(version).unknown == ("version 1 of digits",)
    keep_seen(version, train_on(D))
    keep_seen(find_version("digits", "1"), train_on(E))
    kept = seen_by(find_version("digits", "1"))
    assert (kept.images.tolist(), kept.unknown) == (train_on(D).images.tolist(), ())


def test_weights_are_found_by_their_content(version: Version) -> None:
    assert seen_before(version.model_id).unknown == ("version 1 of digits",)
    keep_seen(version, train_on(D))
    assert seen_before(version.model_id).images.tolist() == train_on(D).images.tolist()
    for start in ("none", "imagenet"):
        assert (len(seen_before(start).images), seen_before(start).unknown) == (0, ())


def test_weights_that_were_never_registered_are_said_to_be_unknown(version: Version) -> None:
    assert seen_before("f" * 64).unknown == ("the weights ffffffffffff…",)


def test_a_list_that_is_gone_is_named(version: Version) -> None:
    keep_seen(version, train_on(D))
    uri = client().get_model_version_download_uri("digits", "1").removeprefix("file://")
    (Path(uri) / "data/seen.parquet").unlink()
    with pytest.raises(UserError, match=r"cannot be downloaded .*Received: models:/digits/1"):
        seen_by(find_version("digits", "1"))
