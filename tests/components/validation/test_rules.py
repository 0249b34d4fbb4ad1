"""Expectations on how pictures look, on near copies and on labels."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from components.images.decoder import Pixels, decode
from components.manifest.table import as_manifest
from components.params.reader import Params
from components.params.validate import Validate
from pipelines.commands.sample import digits
from tests.components.manifests import checked, faulty, finding, image, near, rules
from tests.components.pictures import measure

LOOKS = (
    "dark",
    "bright",
    "blurry",
    "low_information",
    "uniform",
    "odd_aspect",
    "odd_size",
    "border",
)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [image(number, "cat" if number % 2 else "dog") for number in range(60)]


def photographs_card(params: Params) -> Validate:
    """The demo's card with three thresholds of the card for photographs."""
    return rules(
        params,
        dark={"min_p99": 0.3},
        low_information={"min_entropy": 2.5},
        border={"max_share": 0.6},
    )


def flagged(pictures: list[Pixels], params: Validate) -> dict[str, float]:
    """The share of pictures that each rule on looks finds fault with."""
    rows = [
        image(
            number,
            "cat" if number % 2 else "dog",
            height=picture.shape[0],
            width=picture.shape[1],
            **measure(picture),
        )
        for number, picture in enumerate(pictures)
    ]
    validation = checked(rows, params)
    return {name: len(finding(validation, name).offenders) / len(rows) for name in LOOKS}


@pytest.fixture(scope="module")
def trashnet(shared: Path, params: Params) -> list[Pixels]:
    """Every twentieth photograph of TrashNet, which are clean but for one or two."""
    paths = sorted((shared / "datasets/trashnet").rglob("*.jpg"))[::20]
    return [decode(path.read_bytes(), params.ingest.decode).pixels for path in paths]


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("dark", {"brightness_p99": 0.1}),
        ("bright", {"brightness_p1": 0.9}),
        ("blurry", {"sharpness": 0.05}),
        ("low_information", {"entropy": 0.5}),
        ("uniform", {"contrast": 0.001}),
        ("odd_aspect", {"aspect": 4.0}),
        ("odd_aspect", {"aspect": 0.25}),
        ("odd_size", {"width": 3000, "height": 2000}),
        ("odd_size", {"width": 2, "height": 2}),
        ("border", {"border_share": 0.9}),
    ],
)
def test_a_picture_that_looks_wrong_breaks_its_rule_and_no_other(
    name: str, facts: dict[str, Any], rows: list[dict[str, Any]], params: Params
) -> None:
    bad = image(100, **({"aspect": 1.5} | facts))
    strict = rules(params, **{name: {"on_fail": "quarantine"}}, size={"min_px": 1})
    validation = checked([*rows, bad], strict)
    assert [found.name for found in validation.report.findings if not found.passed] == [name]
    assert validation.quarantine[["path", "reason"]].to_numpy().tolist() == [["cat/100.png", name]]


def test_thirds_are_within_an_aspect_of_three(rows: list[dict[str, Any]], params: Params) -> None:
    thirds = [image(100, aspect=round(1 / 3, 6)), image(101, aspect=3.0)]
    assert finding(checked(rows + thirds, rules(params)), "odd_aspect").passed


def test_a_file_without_pixels_breaks_no_rule_on_looks(
    rows: list[dict[str, Any]], params: Params
) -> None:
    # The header of the second was read, so its size is known.
    bad = [faulty(100, "truncated"), faulty(101, "too_many_pixels") | {"width": 9, "height": 9000}]
    validation = checked(rows + bad, rules(params))
    assert all(finding(validation, name).passed for name in LOOKS)


def test_the_worst_are_shown_first(rows: list[dict[str, Any]], params: Params) -> None:
    values = {100: 0.05, 101: 0.01, 102: 0.09}
    bad = [image(number, sharpness=value) for number, value in values.items()]
    found = finding(checked(rows + bad, rules(params)), "blurry")
    assert found.offenders == ("cat/100.png", "cat/101.png", "cat/102.png")
    assert found.tree()["examples"] == [
        {"name": "cat/101.png", "value": 0.01},
        {"name": "cat/100.png", "value": 0.05},
        {"name": "cat/102.png", "value": 0.09},
    ]


def test_clean_photographs_break_hardly_any_rule(trashnet: list[Pixels], params: Params) -> None:
    assert max(flagged(trashnet, photographs_card(params)).values()) < 0.01


def test_clothes_on_black_break_hardly_any_rule_of_the_card(shared: Path, params: Params) -> None:
    with np.load(shared / "datasets/fashion_mnist.npz") as arrays:
        pictures = [np.repeat(grey[..., None], 3, axis=2) for grey in arrays["x_test"][:2000]]
    assert max(flagged(pictures, rules(params)).values()) < 0.005


def test_digits_break_no_rule_of_the_card(params: Params) -> None:
    pictures = [
        decode(data, params.ingest.decode).pixels for _, data in islice(digits(), 0, None, 5)
    ]
    assert max(flagged(pictures, rules(params)).values()) == 0


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("dark", lambda picture: picture // 10),
        ("bright", lambda picture: 255 - (255 - picture) // 8),
        ("blurry", lambda picture: cv2.GaussianBlur(picture, (0, 0), 4)),
        ("uniform", lambda picture: np.full_like(picture, picture.mean())),
        ("low_information", lambda picture: np.where(picture > 127, 255, 0).astype(np.uint8)),
        ("border", lambda picture: np.pad(picture, [(200, 200), (0, 0), (0, 0)])),
        ("odd_aspect", lambda picture: picture[:60]),
    ],
)
def test_spoiled_photographs_are_found(
    name: str, spoil: Callable[[Pixels], Pixels], trashnet: list[Pixels], params: Params
) -> None:
    spoiled = [spoil(picture) for picture in trashnet]
    assert flagged(spoiled, photographs_card(params))[name] > 0.99


def test_one_image_of_near_copies_is_left(rows: list[dict[str, Any]], params: Params) -> None:
    links = near(("cat/001.png", "cat/003.png"), ("cat/003.png", "cat/005.png"))
    strict = rules(params, near_duplicates={"on_fail": "quarantine"})
    validation = checked(rows, strict, links)
    assert validation.quarantine["path"].tolist() == ["cat/003.png", "cat/005.png"]
    assert validation.report.tree()["near_clusters"] == [
        {
            "images": 3,
            "labels": ["cat"],
            "members": [{"path": f"cat/00{number}.png", "label": "cat"} for number in (1, 3, 5)],
        }
    ]


def test_where_the_first_near_copy_goes_for_another_reason_the_next_is_left(
    rows: list[dict[str, Any]], params: Params
) -> None:
    rows[1]["width"] = 2  # cat/001
    links = near(("cat/001.png", "cat/003.png"), ("cat/003.png", "cat/005.png"))
    validation = checked(rows, rules(params, near_duplicates={"on_fail": "quarantine"}), links)
    reasons = validation.quarantine.set_index("path")["reason"].to_dict()
    assert reasons == {"cat/001.png": "size", "cat/005.png": "near_duplicates"}


def test_near_copies_are_only_reported_where_that_is_the_policy(
    rows: list[dict[str, Any]], params: Params
) -> None:
    links = near(("cat/001.png", "cat/003.png"))
    validation = checked(rows, rules(params, near_duplicates={"on_fail": "warn"}), links)
    assert finding(validation, "near_duplicates").offenders == ("cat/003.png",)
    assert len(validation.accepted) == 60
    assert validation.report.tree()["near_links"][0]["similarity"] == 0.95


@pytest.mark.parametrize("on_fail", ["quarantine", "warn", "stop"])
def test_near_copies_under_two_labels_are_conflicts_with_a_policy(
    on_fail: str, rows: list[dict[str, Any]], params: Params
) -> None:
    links = near(("cat/001.png", "cat/003.png"), ("cat/003.png", "dog/002.png"))
    members = {"cat/001.png", "cat/003.png", "dog/002.png"}
    validation = checked(rows, rules(params, near_conflicts={"on_fail": on_fail}), links)
    found = finding(validation, "near_conflicts")
    assert (set(found.offenders), found.stops) == (members, on_fail == "stop")
    assert set(validation.quarantine["path"]) == (members if on_fail == "quarantine" else set())
    assert validation.report.tree()["near_conflicts"][0]["labels"] == ["cat", "dog"]


def test_exact_copies_alone_are_no_near_copies(rows: list[dict[str, Any]], params: Params) -> None:
    links = near(("cat/001.png", "cat/003.png")).assign(kind="exact")
    assert finding(checked(rows, rules(params), links), "near_duplicates").passed


@pytest.mark.parametrize("slip", ["Cat", "cat ", " CAT", "c at"])
def test_labels_that_differ_in_case_or_blanks_are_reported(
    slip: str, rows: list[dict[str, Any]], params: Params
) -> None:
    others = [image(100 + number, slip) for number in range(20)]
    validation = checked(rows + others, rules(params))
    assert set(finding(validation, "label_slips").offenders) == {"cat", slip}
    assert validation.report.tree()["label_slips"] == [sorted(["cat", slip])]
    assert set(validation.accepted["label"]) == {"cat", "dog", slip}


def test_labels_that_are_spelled_alike_but_mean_two_things_may_stay(params: Params) -> None:
    manifest = as_manifest([image(n, ("6", "9", "60")[n % 3]) for n in range(60)])
    assert finding(checked(manifest, rules(params)), "label_slips").passed


def test_a_label_that_the_file_gives_away_is_reported(
    rows: list[dict[str, Any]], params: Params
) -> None:
    for row in rows:
        row["format"] = "jpeg" if row["label"] == "cat" else "png"
    validation = checked(rows, rules(params))
    assert finding(validation, "shortcuts").offenders == ("cat", "dog")
    assert validation.report.tree()["shortcuts"]["labels"][0]["file_fact"] == "format"
    assert len(validation.accepted) == 60


def test_a_label_that_is_darker_than_others_breaks_no_rule(
    rows: list[dict[str, Any]], params: Params
) -> None:
    for row in rows:
        row["brightness"] = 0.3 if row["label"] == "cat" else 0.7
    validation = checked(rows, rules(params))
    shortcut = validation.report.tree()["shortcuts"]["labels"][0]
    assert (shortcut["picture_fact"], shortcut["picture_auc"]) == ("brightness", 1.0)
    assert finding(validation, "shortcuts").passed


def soft(number: int, label: str, sharpness: float = 0.05) -> dict[str, Any]:
    return image(number, label, sharpness=sharpness)


def test_a_fault_of_most_of_the_set_is_one_finding(params: Params) -> None:
    rows = [soft(number, "cat" if number % 2 else "dog") for number in range(50)]
    rows += [image(100 + number, "cow") for number in range(10)]
    found = finding(checked(rows, rules(params)), "blurry")
    assert [asdict(fault) for fault in found.shared] == [{"label": None, "files": 50, "of": 60}]
    assert found.examples == ()
    assert found.observed == "50 of 60 files fail: most of the data set"
    assert found.tree()["offenders"] == 50


def test_a_fault_of_most_of_a_class_is_one_finding_and_other_files_are_listed(
    params: Params,
) -> None:
    rows = [soft(number, "cat") for number in range(30)]
    rows += [image(100 + number, "cat") for number in range(5)]
    rows += [image(200 + number, "dog") for number in range(60)]
    rows += [soft(300 + number, "dog", 0.1) for number in range(3)]
    found = finding(checked(rows, rules(params)), "blurry")
    assert [asdict(fault) for fault in found.shared] == [{"label": "cat", "files": 30, "of": 35}]
    assert [path for path, _ in found.examples] == [f"dog/{300 + n}.png" for n in range(3)]
    assert found.observed == "33 of 98 files fail: most of class cat"


def test_a_shared_fault_that_quarantines_keeps_its_rows(params: Params) -> None:
    rows = [soft(number, "cat" if number % 2 else "dog") for number in range(50)]
    rows += [image(100 + number, "cat" if number % 2 else "dog") for number in range(30)]
    validation = checked(rows, rules(params, blurry={"on_fail": "quarantine"}))
    found = finding(validation, "blurry")
    assert found.shared == ()
    assert len(found.examples) == 20
    assert validation.report.reasons == {"blurry": 50}


def test_a_fault_of_few_files_is_listed_though_they_are_the_whole_set(params: Params) -> None:
    found = finding(checked([soft(number, "cat") for number in range(20)], rules(params)), "blurry")
    assert found.shared == ()
    assert len(found.examples) == 20
