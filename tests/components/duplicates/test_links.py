"""Copies are found however they were made, and unlike pictures are left alone."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.duplicates.links import LINK_COLUMNS, clusters, find_links, label_counts
from components.images.decoder import Pixels, decode
from components.images.fingerprints import BYTES, compare, spectra, stack
from components.manifest.rows import pixels_id
from components.params.reader import Params
from components.params.validate import NearDuplicates
from tests.components.pictures import COPIES, copied, fingerprint, saved, scene

ANY_TURN = NearDuplicates(min_similarity=0.9, turned=True, on_fail="warn")
UPRIGHT = ANY_TURN.model_copy(update={"turned": False})


def row(path: str, pixels: Pixels) -> dict[str, Any]:
    height, width, _ = pixels.shape
    return {
        "path": path,
        "pixels_id": pixels_id(pixels),
        "width": width,
        "height": height,
        "fingerprint": fingerprint(pixels),
    }


def links_of(pictures: dict[str, Pixels], params: NearDuplicates = ANY_TURN) -> pd.DataFrame:
    return find_links(pd.DataFrame([row(*picture) for picture in pictures.items()]), params)


def pairs(links: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(links["path"], links["other"], strict=True))


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_however_it_was_made(how: str) -> None:
    pictures = {f"{n:02}": scene(n) for n in range(20)}
    pictures |= {f"{n:02} copy": copied(scene(n), how) for n in range(20)}
    links = links_of(pictures)
    assert pairs(links) == {(f"{n:02}", f"{n:02} copy") for n in range(20)}
    assert set(links["kind"]) == {"exact" if how == "exact" else "near"}


@pytest.mark.parametrize(
    ("how", "degrees", "mirrored"),
    [
        ("mirrored", 0, True),
        ("upside_down", 180, True),
        ("quarter_turn", 270, False),
        ("turned_5", 355, False),
    ],
)
def test_a_link_tells_how_the_copy_is_turned(how: str, degrees: float, mirrored: bool) -> None:
    (link,) = links_of({"a": scene(1), "b": copied(scene(1), how)}).itertuples()
    assert link.degrees == pytest.approx(degrees, abs=3)
    assert link.mirrored == mirrored


def test_turned_copies_count_only_where_they_are_asked_for() -> None:
    for how in ("mirrored", "quarter_turn"):
        assert links_of({"a": scene(1), "b": copied(scene(1), how)}, UPRIGHT).empty
    assert len(links_of({"a": scene(1), "b": copied(scene(1), "turned_5")}, UPRIGHT)) == 1


def test_one_picture_in_four_formats_is_one_cluster(params: Params) -> None:
    pixels = scene(3)
    files = {kind: saved(pixels, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")}
    pictures = {k: decode(data, params.ingest.decode).pixels for k, data in files.items()}
    links = links_of(pictures | {"other": scene(4)})
    assert set(links["path"]) | set(links["other"]) == set(files)
    assert links["cluster"].nunique() == 1
    assert ("BMP", "PNG") in pairs(links[links["kind"] == "exact"])


def test_of_exact_copies_each_links_to_the_first_and_only_the_first_to_near_ones() -> None:
    same = scene(1)
    links = links_of({"c": same, "a": same, "b": same, "d": copied(same, "quality_50")})
    assert pairs(links) == {("a", "b"), ("a", "c"), ("a", "d")}
    assert links["kind"].tolist() == ["exact", "exact", "near"]
    assert links["similarity"].tolist()[:2] == [1.0, 1.0]
    assert dict(zip(links.columns, links.dtypes.astype(str), strict=True)) == LINK_COLUMNS


def test_order_does_not_matter() -> None:
    pictures = {
        f"{n}": scene(n // 2) if n % 2 else copied(scene(n // 2), "turned_5") for n in range(30)
    }
    shuffled = random.Random(0).sample(list(pictures), 30)
    pd.testing.assert_frame_equal(links_of(pictures), links_of({n: pictures[n] for n in shuffled}))


def test_clusters_are_numbered_by_their_first_path() -> None:
    a, b = scene(1), scene(2)
    links = links_of({"z": a, "y": a, "b": b, "x": copied(b, "quality_50"), "w": b})
    assert links.set_index("path")["cluster"].to_dict() == {"b": 0, "y": 1}


def test_clusters_join_whatever_is_linked() -> None:
    found = clusters(pd.Series(["b", "c", "x"]), pd.Series(["c", "a", "y"]))
    assert found.to_dict() == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}


def test_what_has_nothing_to_compare_has_no_fingerprint() -> None:
    assert fingerprint(np.full((50, 50, 3), 200, np.uint8)) is None
    assert fingerprint(scene(1, 15, 400)) is None
    assert len(fingerprint(scene(1, 16, 16)) or b"") == BYTES


def test_light_grain_and_corners_leave_a_fingerprint_alike() -> None:
    pixels = scene(5).astype(int)
    dimmed = (pixels * 0.6 + 30).clip(0, 255).astype(np.uint8)
    cornered = scene(5)
    cornered[:20, :80] = 0
    cornered[-20:, -80:] = 255
    for other in (dimmed, cornered):
        prints = [fingerprint(scene(5)) or b"", fingerprint(other) or b""]
        first, second = spectra(stack(prints))[:, None]
        assert compare(first, second, turned=False).similarity[0] > 0.95


def test_small_pictures_must_be_more_alike() -> None:
    """At 24 pixels a side the grid is four times as large in area, and so is what 0.9 demands."""

    def link(side: int) -> pd.DataFrame:
        pixels = scene(8, side, side)
        worn = pixels.astype(int) + np.random.default_rng(0).normal(0, 9, pixels.shape)
        return links_of({"a": pixels, "b": worn.clip(0, 255).astype(np.uint8)})

    assert len(link(96)) == 1
    assert link(24).empty


def test_nothing_and_one_image_have_no_links() -> None:
    for pictures in ({}, {"a": scene(1)}):
        rows = [row(*picture) for picture in pictures.items()]
        table = pd.DataFrame(rows, columns=["path", "pixels_id", "width", "height", "fingerprint"])
        links = find_links(table, ANY_TURN)
        assert links.empty
        assert list(links.columns) == list(LINK_COLUMNS)


def test_faulty_rows_and_pictures_without_a_fingerprint_are_passed_over() -> None:
    flat = np.full((50, 50, 3), 9, np.uint8)
    table = pd.DataFrame([row("a", flat), row("b", flat), row("c", scene(1)), {"path": "d"}])
    assert pairs(find_links(table, ANY_TURN)) == {("a", "b")}


def test_a_crowd_of_copies_is_found_without_comparing_all_with_all() -> None:
    """400 frames of one scene: each finds many of the others, though far from all 79,800 pairs."""
    generator = np.random.default_rng(0)
    base = scene(1, 64, 64).astype(int)
    frames = {
        f"{n:03}": (base + generator.normal(0, 3, base.shape)).clip(0, 255).astype(np.uint8)
        for n in range(400)
    }
    links = links_of(frames | {f"other {n}": scene(100 + n, 64, 64) for n in range(50)})
    partners = pd.concat([links["path"], links["other"]]).value_counts()
    assert set(partners.index) == set(frames)
    assert partners.min() >= 32
    assert links["cluster"].nunique() == 1


def test_the_links_of_a_crowd_grow_with_its_members_not_with_its_pairs() -> None:
    """1,500 frames are 1.1 million pairs."""
    generator = np.random.default_rng(0)
    base = scene(1, 48, 48).astype(int)
    frames = {
        f"{n:04}": (base + generator.normal(0, 3, base.shape)).clip(0, 255).astype(np.uint8)
        for n in range(1500)
    }
    links = links_of(frames)
    partners = pd.concat([links["path"], links["other"]]).value_counts()
    assert len(links) < 60 * len(frames)
    assert set(partners.index) == set(frames)
    assert partners.min() >= 16


def test_a_blank_label_contradicts_nothing() -> None:
    table = pd.DataFrame({"label": ["cat", "  ", "", "cat"], "pixels_id": ["a"] * 4})
    assert label_counts(table["pixels_id"], table["label"]).tolist() == [1, 1, 1, 1]


def found_and_false(folder: Path, params: Params, count: int, how: str) -> tuple[float, float]:
    """Plant a copy of each of `count` photographs; return recall and the share of false links."""
    files = sorted(folder.glob("*/*.jpg"))
    files = random.Random(1).sample(files, count)
    pictures = {f.name: decode(f.read_bytes(), params.ingest.decode).pixels for f in files}
    known = pairs(links_of(pictures))
    planted = {f"{name} copy": copied(pixels, how) for name, pixels in pictures.items()}
    links = links_of(pictures | planted)
    cluster = clusters(links["path"], links["other"])
    recall = np.mean([cluster.get(n, n) == cluster.get(f"{n} copy", "") for n in pictures])
    honest = clusters(*(pd.Series(ends) for ends in zip(*known, strict=True))) if known else {}
    names = [(a.removesuffix(" copy"), b.removesuffix(" copy")) for a, b in pairs(links)]
    false = [(a, b) for a, b in names if a != b and honest.get(a, a) != honest.get(b, b)]
    return float(recall), len(false) / max(len(names), 1)


@pytest.mark.parametrize("how", COPIES)
def test_planted_copies_of_photographs_are_found(how: str, shared: Path, params: Params) -> None:
    recall, false = found_and_false(shared / "datasets/trashnet", params, 150, how)
    assert recall >= COPIES[how][1]
    assert false <= 0.005


@pytest.mark.slow
@pytest.mark.parametrize("how", COPIES)
def test_planted_copies_of_2000_photographs_are_found(
    how: str, shared: Path, params: Params
) -> None:
    recall, false = found_and_false(shared / "datasets/trashnet", params, 2000, how)
    print(f"{how}: recall {recall:.2%}, false links {false:.2%}")
    assert recall >= COPIES[how][1]
    assert false <= 0.005


def test_the_pairs_known_to_be_in_trashnet_are_found(shared: Path, params: Params) -> None:
    names = ["metal91", "glass115", "plastic152", "glass176", "plastic332", "glass389"]
    others = [f"paper{n}" for n in range(1, 60)]
    files = [next((shared / "datasets/trashnet").glob(f"*/{name}.jpg")) for name in names + others]
    pictures = {f.stem: decode(f.read_bytes(), params.ingest.decode).pixels for f in files}
    links = links_of(pictures)
    exact = pairs(links[links["kind"] == "exact"])
    assert exact == {
        ("glass115", "metal91"),
        ("glass176", "plastic152"),
        ("glass389", "plastic332"),
    }
