"""Expectations: which rows go, which failures stop the run, and what the report says."""

import re
from pathlib import Path
from typing import Any

import pytest

from components.duplicates.links import find_links
from components.errors import UserError
from components.manifest.table import as_manifest, build_manifest
from components.params.reader import Params
from tests.components.manifests import checked, faulty, finding, image, rules


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [image(number, "cat" if number % 2 else "dog") for number in range(60)]


def test_sound_images_all_pass(rows: list[dict[str, Any]], params: Params) -> None:
    validation = checked(rows, rules(params))
    assert validation.report.tree()["passed"]
    assert len(validation.accepted) == 60
    assert validation.quarantine.empty
    validation.report.check_may_go_on("report.json")


def test_every_row_is_accepted_or_quarantined_with_its_reason(
    rows: list[dict[str, Any]], params: Params
) -> None:
    bad = [
        faulty(100, "truncated"),
        image(101, width=4),
        image(102, height=30_000),
        image(103, format="bmp"),
        image(104, label="", path="104.png", width=2),
    ]
    manifest = as_manifest(rows + bad)
    validation = checked(manifest, rules(params, format={"allowed": ("png",)}))
    reasons = dict(validation.quarantine[["path", "reason"]].to_numpy())
    assert reasons == {
        "cat/100.png": "truncated",
        "cat/101.png": "size",
        "cat/102.png": "size",
        "cat/103.png": "format",
        "104.png": "size, label_filled",
    }
    paths = [*validation.accepted["path"], *validation.quarantine["path"]]
    assert sorted(paths) == sorted(manifest["path"])
    assert list(validation.accepted.columns) == list(manifest.columns)


def test_warn_reports_and_keeps_the_rows(rows: list[dict[str, Any]], params: Params) -> None:
    manifest = as_manifest([*rows, image(100, width=4)])
    validation = checked(manifest, rules(params, size={"on_fail": "warn"}))
    assert len(validation.accepted) == 61
    assert not finding(validation, "size").passed
    validation.report.check_may_go_on("report.json")


def test_a_file_without_pixels_is_never_accepted(
    rows: list[dict[str, Any]], params: Params
) -> None:
    manifest = as_manifest([*rows, faulty(100, "empty_file")])
    validation = checked(manifest, rules(params, decodes={"on_fail": "warn"}))
    assert validation.quarantine["reason"].tolist() == ["empty_file"]


@pytest.mark.parametrize("label", ["", " "])
@pytest.mark.parametrize("on_fail", ["warn", "stop", "quarantine"])
def test_an_image_without_a_label_is_never_accepted(
    on_fail: str, label: str, rows: list[dict[str, Any]], params: Params
) -> None:
    nameless = [image(100 + number, label) for number in range(20)]
    changed = rules(params, label_filled={"on_fail": on_fail})
    validation = checked(rows + nameless, changed)
    assert set(validation.accepted["label"]) == {"cat", "dog"}
    assert validation.quarantine["reason"].tolist() == ["label_filled"] * 20
    assert finding(validation, "images_per_class").passed
    assert finding(validation, "label_filled").stops == (on_fail == "stop")


def test_an_unknown_label_stops_the_run_by_name(rows: list[dict[str, Any]], params: Params) -> None:
    manifest = as_manifest([*rows, image(100, label="cow")])
    validation = checked(manifest, rules(params, label_known={"labels": ("cat", "dog")}))
    with pytest.raises(UserError) as caught:
        validation.report.check_may_go_on("data/validate/report.json")
    for part in ("validate.label_known", "cow/100.png", "data/validate/report.json", "Received:"):
        assert part in str(caught.value)


def test_a_small_class_stops_the_run_counted_after_quarantine(
    rows: list[dict[str, Any]], params: Params
) -> None:
    small = [image(100 + number, "cow", width=2 if number else 30) for number in range(12)]
    validation = checked(rows + small, rules(params))
    assert validation.report.tree()["classes"]["cow"] == {"before": 12, "after": 1}
    assert finding(validation, "images_per_class").offenders == ("cow",)
    with pytest.raises(UserError, match=r"images_per_class.*1 of 3 classes fail \(cow has 1\)"):
        validation.report.check_may_go_on("report.json")


def test_a_small_class_can_be_taken_out_as_a_whole(
    rows: list[dict[str, Any]], params: Params
) -> None:
    small = [image(100 + number, "cow", width=30 if number else 2) for number in range(9)]
    manifest = as_manifest(rows + small)
    validation = checked(manifest, rules(params, images_per_class={"on_fail": "quarantine"}))
    tree = validation.report.tree()
    assert set(validation.accepted["label"]) == {"cat", "dog"}
    assert tree["quarantined_by_reason"] == {"images_per_class": 8, "size": 1}
    assert tree["classes"]["cow"] == {"before": 9, "after": 0}
    assert (tree["rows"], tree["accepted"], tree["quarantined"]) == (69, 60, 9)
    assert sorted([*validation.accepted["path"], *validation.quarantine["path"]]) == sorted(
        manifest["path"]
    )
    assert not tree["passed"]
    validation.report.check_may_go_on("report.json")


def test_small_classes_taken_out_must_leave_two(params: Params) -> None:
    manifest = as_manifest([image(number) for number in range(20)] + [image(99, "dog")])
    validation = checked(manifest, rules(params, images_per_class={"on_fail": "quarantine"}))
    with pytest.raises(UserError, match=r"fewer than two classes are left .* Received: cat"):
        validation.report.check_may_go_on("report.json")


def test_a_known_class_without_images_is_a_small_class(
    rows: list[dict[str, Any]], params: Params
) -> None:
    known = rules(params, label_known={"labels": ("cat", "cow", "dog")})
    validation = checked(rows, known)
    assert finding(validation, "images_per_class").offenders == ("cow",)


def test_too_many_faults_stop_the_run(rows: list[dict[str, Any]], params: Params) -> None:
    bad = [faulty(100 + number, "truncated") for number in range(20)]
    validation = checked(rows + bad, rules(params))
    assert finding(validation, "fault_share").observed == "25.0% do"
    with pytest.raises(UserError, match="fault_share"):
        validation.report.check_may_go_on("report.json")


def test_duplicates_are_counted_without_the_first(
    rows: list[dict[str, Any]], params: Params
) -> None:
    copies = [image(100 + number, pixels_id=rows[1]["pixels_id"]) for number in range(15)]
    validation = checked(rows + copies, rules(params))
    assert finding(validation, "duplicate_share").observed == "20.0% do"
    assert len(finding(validation, "duplicate_share").offenders) == 15
    assert len(validation.accepted) == 75


def test_surplus_copies_can_be_taken_out_and_one_of_each_is_left(
    rows: list[dict[str, Any]], params: Params
) -> None:
    # The first two copies of dog 100 go for reasons of their own; the third must then be left.
    others = [{"format": "heic"}, {"label": "", "path": "root.png"}, {}, {}]
    dogs = [
        image(100 + number, **{"label": "dog"} | facts, pixels_id="d" * 64)
        for number, facts in enumerate(others)
    ]
    cats = [image(200 + number, pixels_id=rows[1]["pixels_id"]) for number in range(15)]
    strict = rules(params, duplicate_share={"on_fail": "quarantine"})
    validation = checked(rows + dogs + cats, strict)
    reasons = validation.quarantine.set_index("path")["reason"].to_dict()
    assert {path: reasons.pop(path) for path in ("dog/100.png", "root.png", "dog/103.png")} == {
        "dog/100.png": "format",
        "root.png": "label_filled",
        "dog/103.png": "duplicate_share",
    }
    assert reasons == dict.fromkeys((cat["path"] for cat in cats), "duplicate_share")
    assert not validation.accepted["pixels_id"].duplicated().any()
    assert len(validation.accepted) + len(validation.quarantine) == 79


def test_copies_within_the_share_that_may_be_stay(
    rows: list[dict[str, Any]], params: Params
) -> None:
    manifest = as_manifest([*rows, image(100, pixels_id=rows[1]["pixels_id"])])
    validation = checked(manifest, rules(params, duplicate_share={"on_fail": "quarantine"}))
    assert len(validation.accepted) == 61


def test_nothing_but_one_class_left_ends_in_one_sentence(params: Params) -> None:
    rows = [image(n) for n in range(20)] + [image(99, "dog", width=2)]
    validation = checked(rows, rules(params, images_per_class={"on_fail": "warn"}))
    with pytest.raises(UserError, match="fewer than two classes"):
        validation.report.check_may_go_on("report.json")


def test_the_docs_are_equal_bytes_and_names_in_them_are_escaped(
    rows: list[dict[str, Any]], params: Params
) -> None:
    manifest = as_manifest([*rows, image(100, width=4, path="cat/<script>$x.png")])
    labels = rules(params, label_known={"labels": ("cat", "dog", "<b>$z</b>")})
    docs = checked(manifest, labels).docs
    assert docs == checked(manifest, labels).docs
    assert "Great Expectations" in docs["index.html"]
    assert "cat/&lt;script&gt;$x.png" in docs["index.html"]
    for page in docs.values():
        assert "labels are cat, dog, &lt;b&gt;$z&lt;/b&gt;" in page
        assert "<script>$x" not in page
        assert "<b>$z" not in page


def test_the_docs_link_to_each_other_and_back_to_the_data_report(
    rows: list[dict[str, Any]], params: Params
) -> None:
    docs = checked(rows, rules(params)).docs
    assert 'href="expectations/manifest.html"' in docs["index.html"]
    assert 'href="../index.html"' in docs["expectations/manifest.html"]
    assert 'href="../../report.html"' in docs["expectations/manifest.html"]


@pytest.mark.parametrize(
    ("further", "changes", "status"),
    [
        ([], {}, "Passed"),
        ([image(100, width=4)], {"size": {"on_fail": "warn"}}, "Passed with warnings"),
        ([image(100, width=4)], {"size": {"on_fail": "quarantine"}}, "Quarantined"),
        ([image(100, width=4)], {"size": {"on_fail": "stop"}}, "Stopped"),
        ([faulty(100, "empty_file")], {}, "Quarantined"),
        ([image(100, "cow")], {"images_per_class": {"on_fail": "stop"}}, "Stopped"),
    ],
)
def test_report_and_docs_say_what_came_of_it(
    further: list[dict[str, Any]],
    changes: dict[str, Any],
    status: str,
    rows: list[dict[str, Any]],
    params: Params,
) -> None:
    validation = checked(rows + further, rules(params, **changes))
    assert validation.report.outcome == status.lower()
    headline = re.search(r"Status:</span> <i [^>]*></i> (\w+)", validation.docs["index.html"])
    assert headline is not None
    assert headline[1] == ("Succeeded" if status == "Passed" else "Failed")


@pytest.mark.slow
def test_of_a_hundred_thousand_rows_every_bad_one_is_taken_out(params: Params) -> None:
    manifest = as_manifest([image(n, "cat" if n % 2 else "dog") for n in range(100_000)])
    manifest.loc[::10, "width"] = 2
    validation = checked(manifest, rules(params))
    assert validation.quarantine["path"].tolist() == manifest["path"].iloc[::10].tolist()


@pytest.mark.slow
def test_of_a_hundred_thousand_rows_all_may_break_every_rule(params: Params) -> None:
    broken = {"sharpness": 0.0, "entropy": 0.0, "contrast": 0.0, "brightness_p99": 0.0, "width": 2}
    manifest = as_manifest([image(n, "cat" if n % 2 else "dog", **broken) for n in range(100_000)])
    names = ("dark", "blurry", "low_information", "uniform", "size")
    strict = rules(params, **{name: {"on_fail": "quarantine"} for name in names})
    validation = checked(manifest, strict)
    assert validation.accepted.empty
    reasons = "size, dark, blurry, low_information, uniform"
    assert validation.report.tree()["quarantined_by_reason"] == {reasons: 100_000}


def test_the_conflicting_pairs_of_trashnet_are_found(shared: Path, params: Params) -> None:
    manifest = build_manifest(shared / "datasets/trashnet", params.ingest)
    card = rules(params)
    links = find_links(manifest, card.near_duplicates)
    report = checked(manifest.drop(columns="fingerprint"), card, links).report.tree()
    pairs = {
        tuple(Path(image["path"]).stem for image in conflict["members"])
        for conflict in report["label_conflicts"]
    }
    assert pairs == {
        ("glass115", "metal91"),
        ("glass176", "plastic152"),
        ("glass389", "plastic332"),
    }
    assert (report["rows"], report["accepted"], report["quarantined"]) == (2527, 2521, 6)
