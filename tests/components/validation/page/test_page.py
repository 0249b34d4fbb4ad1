"""report.html: the page shows what report.json says, and nothing in it can do harm."""

import json
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from components.duplicates.links import find_links
from components.images.decoder import Fault, decode
from components.manifest.difference import difference
from components.manifest.table import build_manifest
from components.params.reader import Params
from components.sources.reading import read_bytes
from components.validation.overview import EDGES
from components.validation.page import wording
from components.validation.page.page import EXAMPLES, page, picture_paths
from components.validation.page.thumbnails import thumbnail
from components.validation.rules import image_rules
from components.validation.validation import validate
from tests.components.pages.outline import Outline
from tests.components.pictures import copied, saved, scene

ROOT = Path(__file__).parents[4]
HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "<script>alert(1)<script>.png",
    "line\nbreak.png",
    "\u202egnp.exe.png",
    "n" * 251 + ".png",
)


def file(number: int) -> bytes:
    return saved(scene(number, 96, 128))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound images, and some of all that the page has a place for."""
    dark = {name: saved(scene(200 + n, 96, 128) // 20) for n, name in enumerate(HOSTILE)}
    files = {
        **{f"cat/{number:02}.png": file(number) for number in range(24)},
        **{f"dog/{number:02}.png": file(100 + number) for number in range(24)},
        **{f"Cat/{number:02}.png": file(300 + number) for number in range(12)},
        **{f"dog/{name}": data for name, data in dark.items()},
        "cat/copy.png": file(0),
        "dog/conflict.png": file(1),
        "cat/near.png": saved(copied(scene(2, 96, 128), "quality_50")),
        "dog/near conflict.png": saved(copied(scene(3, 96, 128), "quality_50")),
        "cat/cut.png": file(4)[:2000],
        "cat/page.jpg": b"<!doctype html><title>404</title>",
        "dog/tiny.png": saved(scene(5, 9, 9)),
    }
    folder = tmp_path_factory.mktemp("report") / "raw"
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def report(raw: Path, params: Params) -> dict:
    """The tree of report.json, as it is read back."""
    manifest = build_manifest(raw, params.section("ingest"))
    rules = params.section("validate")
    links = find_links(manifest, rules.near_duplicates)
    suspect = {"path": "cat/07.png", "label": "cat", "suggested": "dog", "quality": 0.0123}
    doubtful = suspect | {"path": "cat/08.png", "quality": 0.41, "suspected": False}
    label_errors = {
        "images": 70,
        "skipped": [],
        "agreement": 0.9,
        "checked": 7,
        "found": 0.85,
        "suspect_count": 1,
        "suspects": [suspect],
        "ranking": [suspect | {"suspected": True}, doubtful],
    }
    tree = validate(manifest, links, rules).report.tree() | {
        "label_errors": label_errors,
        "difference": difference(manifest.iloc[5:], manifest).tree(),
    }
    return json.loads(json.dumps(tree))


@pytest.fixture(scope="module")
def pictures(raw: Path, report: dict, params: Params) -> dict:
    rules, found = params.section("ingest").decode, {}
    for path in picture_paths(report):
        with suppress(Fault):
            data = read_bytes(raw, path, rules.max_bytes, raw)
            found[path] = thumbnail(decode(data, rules).pixels)
    return found


@pytest.fixture(scope="module")
def html(report: dict, pictures: dict) -> str:
    return page(report, pictures)


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    return Outline(html)


def texts(tree: object) -> set[str]:
    """Every text in a tree, keys too."""
    if isinstance(tree, dict):
        return set(tree) | texts(list(tree.values()))
    if isinstance(tree, list):
        return {text for item in tree for text in texts(item)}
    return {tree} if isinstance(tree, str) else set()


def clean(report: dict) -> dict:
    """The same report, had nothing been found."""
    nothing = {key: [] for key, value in report.items() if isinstance(value, list)}
    counts = {key: 0 for key in report if key.endswith("_count")}
    return (
        report
        | nothing
        | counts
        | {
            "expectations": [
                found | {"passed": True, "offenders": 0, "examples": []}
                for found in report["expectations"]
            ],
            "shortcuts": {"labels": [], "skipped": []},
            "quarantined_by_reason": {},
            "quarantined": 0,
            "accepted": report["rows"],
            "faults": {},
            "passed": True,
            "outcome": "passed",
            "label_errors": None,
            "difference": None,
        }
    )


def test_the_page_is_well_formed_and_needs_nothing_beside_it(html: str, outline: Outline) -> None:
    assert outline.open == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(outline.tags)
    assert not re.search(r"url\(|@import|https?:", html)
    kinds = Counter(re.match(r"data:image/\w+;base64,|#|.*", link)[0] for link in outline.links)
    assert set(kinds) == {
        "data:image/jpeg;base64,",
        "data:image/png;base64,",
        "#",
        "docs/index.html",
    }


def test_links_within_the_page_lead_somewhere(outline: Outline) -> None:
    targets = [link[1:] for link in outline.links if link.startswith("#")]
    assert len(targets) == 12
    assert set(targets) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_the_same_report_gives_the_same_bytes(report: dict, pictures: dict, html: str) -> None:
    backwards = dict(reversed(pictures.items()))
    assert page(report, backwards) == html


def test_hostile_names_stay_text(outline: Outline, report: dict) -> None:
    assert {f"dog/{name}" for name in HOSTILE} <= texts(report)
    assert outline.tags.count("img") == sum(link.startswith("data:") for link in outline.links)
    shown = {name for name in outline.names if name.startswith("dog/")}
    assert f"dog/{HOSTILE[0]}" in shown
    assert f"dog/{HOSTILE[1]}" in shown
    assert r"dog/line\nbreak.png" in shown
    assert r"dog/\u202egnp.exe.png" in shown
    assert f"dog/{HOSTILE[4]}" in shown
    assert "\u202e" not in outline.text


def test_every_name_on_the_page_is_in_the_report(outline: Outline, report: dict) -> None:
    known = {text.replace("\n", r"\n").replace("\u202e", r"\u202e") for text in texts(report)}
    sizes = {f"{size['width']} × {size['height']}" for size in report["sizes"]}
    assert set(outline.names) <= known | sizes
    assert set(picture_paths(report)) <= texts(report)


def test_the_pictures_asked_for_are_the_pictures_shown(
    report: dict, pictures: dict, outline: Outline
) -> None:
    asked = picture_paths(report)
    assert len(asked) == len(set(asked))
    assert set(pictures) == set(asked)
    assert outline.tags.count("img") >= len(asked)
    assert "not decoded" not in outline.text
    bare = Outline(page(report, {}))
    assert bare.text.count("not decoded") == outline.tags.count("img")


def test_every_reason_for_quarantine_and_every_fault_is_named(
    outline: Outline, report: dict
) -> None:
    quarantine, faults = outline.section("quarantine"), outline.section("faults")
    reasons = {one for code in report["quarantined_by_reason"] for one in code.split(", ")}
    assert reasons == {"truncated", "not_an_image", "label_conflicts"}
    for reason in reasons:
        assert re.search(rf"\b{reason}\s+\d", quarantine)
    for code in report["faults"]:
        assert wording.FAULTS[code] in faults


def test_a_file_out_for_two_reasons_counts_below_each(report: dict) -> None:
    reasons = {"dark, blurry": 3, "blurry": 2}
    text = Outline(page(report | {"quarantined_by_reason": reasons}, {})).section("quarantine")
    assert re.search(r"blurry\s+5\s+dark\s+3", text)


def test_all_that_can_be_found_has_its_words(params: Params) -> None:
    files = (ROOT / "components").rglob("*.py")
    # What `fovea predict` refuses besides, such as an archive, is no image of a data set.
    sources = "".join(path.read_text("utf-8") for path in files if "serving" not in path.parts)
    codes = set(re.findall(r"Fault\(\s*\"(\w+)\"", sources))
    assert len(codes) > 10
    assert codes <= set(wording.FAULTS)
    assert set(wording.FACTS) == set(EDGES)
    rules = {rule.name for rule in image_rules(params.section("validate"))}
    assert set(wording.GALLERIES) <= rules


def test_expectations_are_listed_by_outcome_the_worst_first(outline: Outline, report: dict) -> None:
    text = outline.section("expectations")
    for found in report["expectations"]:
        assert re.search(rf"{found['name']}\s+{re.escape(found['rule'])}", text)
        assert found["observed"] in text
    words = {"quarantine": "quarantines", "warn": "warns", None: "met"}
    outcomes = [
        words[None if found["passed"] else found["on_fail"]] for found in report["expectations"]
    ]
    shown = re.findall(rf"\b({'|'.join(words.values())}) \w+ (?=[a-z])", text)
    assert Counter(shown) == Counter(outcomes)
    assert shown == sorted(shown, key=list(words.values()).index)


def test_each_failed_expectation_on_pictures_shows_what_was_measured(
    outline: Outline, report: dict
) -> None:
    (dark,) = [found for found in report["expectations"] if found["name"] == "dark"]
    quality = outline.section("quality")
    assert dark["offenders"] == len(HOSTILE)
    assert dark["rule"] in quality
    for example in dark["examples"]:
        assert f"brightest 1 %: {example['value']:.3f}" in quality


def test_a_shared_fault_is_one_line_without_pictures(report: dict) -> None:
    fault = {"label": None, "files": 4248, "of": 4317}
    of_a_class = {"label": "cat", "files": 30, "of": 35}
    shared = {"blurry": [fault], "low_information": [of_a_class]}
    tree = report | {
        "expectations": [
            found | {"passed": False, "offenders": 4248, "examples": [], "shared": shared[name]}
            if (name := found["name"]) in shared
            else found
            for found in report["expectations"]
        ]
    }
    quality = Outline(page(tree, {})).section("quality")
    assert re.search(r"Blurry warns\s+4,248 of 4,317 files \(98\.4 %\); expected: ", quality)
    assert re.search(r"Low information warns\s+cat:\s+30 of 35 files \(85\.7 %\)", quality)
    assert quality.count("Blurry") == quality.count("Low information") == 1
    assert len(picture_paths(tree)) == len(picture_paths(report))


def test_copies_across_given_splits_are_counted(report: dict) -> None:
    text = Outline(page(report | {"across_splits_count": 8}, {})).section("copies")
    assert "8 sets of copies are in several of the given splits" in text


def test_classes_are_counted_before_and_after_quarantine(outline: Outline, report: dict) -> None:
    text = outline.section("classes")
    for label, found in report["classes"].items():
        out = found["before"] - found["after"]
        share = 100 * found["after"] / report["accepted"]
        counts = rf"\s+{found['after']}\s+{share:.1f} %\s+{f'− {out}' if out else '0'}\b"
        assert re.search(rf"\b{label}{counts}", text)


def test_conflicts_show_their_labels_and_what_was_done(outline: Outline) -> None:
    text = outline.section("conflicts")
    assert "Equal pixels quarantines 1 set, quarantined cat ≠ dog" in text
    assert "Near copies warns 1 set, kept cat ≠ dog similarity 0.9" in text
    for path in ("cat/01.png", "dog/conflict.png", "cat/03.png", "dog/near conflict.png"):
        assert path in text


def test_copies_under_one_label_are_no_conflicts(outline: Outline) -> None:
    text = outline.section("copies")
    for path in ("cat/00.png", "cat/copy.png", "cat/02.png", "cat/near.png"):
        assert path in text
        assert path not in outline.section("conflicts")
    assert "conflict.png" not in text


def test_turned_and_mirrored_copies_say_so(report: dict) -> None:
    links = [link | {"degrees": 90.2, "mirrored": True} for link in report["near_links"]]
    text = Outline(page(report | {"near_links": links}, {})).text
    assert text.count("mirrored · turned 90°") == report["near_cluster_count"]


def test_links_that_come_with_a_set_are_the_ones_that_count(report: dict) -> None:
    ends = {"path": "cat/02.png", "other": "cat/near.png", "mirrored": False, "degrees": 0.0}
    sets = [
        found | {"links": [ends | {"similarity": 0.912}]}
        for found in report["near_clusters"]
        if found["labels"] == ["cat"]
    ]
    text = Outline(page(report | {"near_clusters": sets, "near_links": []}, {})).section("copies")
    assert len(sets) == 1
    assert "similarity 0.91" in text


def test_what_is_not_quite_equal_is_not_said_to_be(report: dict) -> None:
    links = [link | {"similarity": 0.9999} for link in report["near_links"]]
    text = Outline(page(report | {"near_links": links}, {})).text
    assert "similarity 0.99" in text
    assert "similarity 1.00" not in text


def test_suspected_labels_are_shown_and_said_to_be_kept(outline: Outline) -> None:
    text = outline.section("suspects")
    assert re.search(r"cat → dog probability 0\.012 cat/07\.png", text)
    assert "Nothing is removed" in text


def test_the_ranking_marks_suspects_and_says_how_sure_it_is(outline: Outline) -> None:
    text = outline.section("suspects")
    assert re.search(
        r"cat/07\.png suspect cat → dog probability 0\.410 cat/08\.png (?!suspect)", text
    )
    assert "1 of 70 labels is suspected" in text
    assert "agrees with 90.0 % of the labels" in text
    assert "among the first 7 of the ranking in 85.0 % of the cases" in text


def test_a_hundred_of_thousands_are_ranked_and_most_of_them_folded(report: dict) -> None:
    (image, *_) = report["label_errors"]["ranking"]
    errors = report["label_errors"] | {"images": 5000, "suspect_count": 2000}
    errors["ranking"] = [image | {"path": f"{number}.png"} for number in range(100)]
    outline = Outline(page(report | {"label_errors": errors}, {}))
    text = outline.section("suspects")
    assert text.count("probability 0.012") == 100
    assert "show ranks 25 to 100" in text
    assert "and 4,900 more" in text
    assert "2,000 of 5,000 labels are suspected" in text
    assert outline.tags.count("details") == 1


def test_labels_predicted_by_facts_of_the_file_are_flagged(report: dict) -> None:
    rows = [
        {"label": label, "images": 24, "file_auc": area, "file_fact": "width"}
        | {"picture_auc": 0.5, "picture_fact": "contrast"}
        for label, area in (("cat", 0.6), ("dog", 0.99))
    ]
    failed = [
        found | ({"offenders": 1, "passed": False} if found["name"] == "shortcuts" else {})
        for found in report["expectations"]
    ]
    tree = report | {"expectations": failed, "shortcuts": {"labels": rows, "skipped": []}}
    text = Outline(page(tree, {})).section("shortcuts")
    assert "dog 24 0.990 width 0.500 contrast warns cat 24 0.600 width 0.500 contrast" in text
    assert text.count("warns") == 1


def test_likely_slips_are_listed_together(outline: Outline, report: dict) -> None:
    assert report["label_slips"] == [["Cat", "cat"]]
    text = outline.section("slips")
    assert f"Cat 12 · cat {report['classes']['cat']['before']}" in text


def test_slips_that_look_the_same_are_told_apart(report: dict) -> None:
    labels = ["caf\u00e9", "cafe\u0301"]
    text = Outline(page(report | {"label_slips": [labels]}, {})).section("slips")
    assert f"{labels[0]} (caf\\xe9) 0 · {labels[1]} (cafe\\u0301) 0" in text


def test_the_difference_is_counted_in_all_and_by_class(outline: Outline, report: dict) -> None:
    text = outline.section("changes")
    assert report["difference"]["added"]["images"] == 5
    assert re.search(r"added\s+5\s", text)
    assert re.search(r"Cat\s+7\s+12\s+5\s+0\s+0\s+0\s+0\s+0\b", text)


def test_where_there_is_no_difference_the_page_says_why(report: dict) -> None:
    said = Outline(page(report | {"difference": {"notes": ["The clone is shallow."]}}, {}))
    assert "The clone is shallow." in said.section("changes")


def test_a_section_with_nothing_to_show_is_one_line(report: dict) -> None:
    outline = Outline(page(clean(report) | {"facts": measured_nothing(report)}, {}))
    found = ("quarantine", "faults", "quality", "facts", "conflicts", "copies")
    for place in (*found, "shortcuts", "suspects", "slips", "changes"):
        assert re.fullmatch(r"[^.]+(\.label_errors[^.]+)?\.", outline.section(place)), place


def measured_nothing(report: dict) -> dict:
    return {
        name: found | {"counts": [0] * len(found["counts"]), "median": None}
        for name, found in report["facts"].items()
    }


def test_a_thousand_classes_are_folded(report: dict) -> None:
    classes = {f"c{number:03}": {"before": 10 + number, "after": number} for number in range(1000)}
    rows = sum(found["before"] for found in classes.values())
    text = Outline(page(report | {"classes": classes, "rows": rows}, {})).section("classes")
    assert len(re.findall(r"\bc\d{3}\b", text)) == 40
    assert "and 960 more, of 10 to 969 images" in text
    assert "c999" in text
    assert "c000" in text


def test_no_class_and_no_file_is_a_page_too(report: dict) -> None:
    empty = {"classes": {}, "rows": 0, "accepted": 0, "sizes": [], "size_count": 0}
    outline = Outline(
        page(clean(report) | empty | {"facts": measured_nothing(report), "outcome": "stopped"}, {})
    )
    assert "There is not a single file." in outline.text
    assert "There is no class." in outline.section("classes")
    assert "No picture was decoded." in outline.section("facts")


def test_the_page_stays_small_however_much_is_found(report: dict) -> None:
    names = [f"cat/{number:06}.jpg" for number in range(100_000)]
    examples = [{"name": name, "value": 0.1} for name in names[:20]]
    sets = [
        {"images": 1000, "labels": ["cat"], "members": [{"path": p, "label": "cat"} for p in part]}
        for part in (names[start : start + 20] for start in range(0, 2000, 20))
    ]
    kinds = ("label_conflict", "near_conflict", "copy_set", "near_cluster")
    tree = report | {f"{kind}s": sets for kind in kinds} | {f"{k}_count": 5000 for k in kinds}
    tree["expectations"] = [
        found | {"passed": False, "offenders": 90_000, "examples": examples}
        for found in report["expectations"]
    ]
    tree["faults"] = {code: {"files": 4000, "examples": names[:20]} for code in wording.FAULTS}
    shown = picture_paths(tree)
    assert EXAMPLES < len(shown) < 400
    picture = thumbnail(scene(1, 480, 640))
    html = page(tree, dict.fromkeys(shown, picture))
    assert len(html) < 5_000_000
    assert "and 89,988 more" in html


def test_pictures_of_every_class_come_first(report: dict, html: str, raw: Path) -> None:
    examples = report["class_examples"]
    assert {label: len(paths) for label, paths in examples.items()} == {
        label: min(counts["after"], 5) for label, counts in report["classes"].items()
    }
    assert all(path.startswith(f"{label}/") for label, paths in examples.items() for path in paths)
    first = picture_paths(report)[: sum(map(len, examples.values()))]
    assert sorted(first) == sorted(path for paths in examples.values() for path in paths)
    assert html.index('id="pictures"') < html.index('id="classes"')


def test_a_report_without_accepted_images_has_no_pictures(report: dict) -> None:
    outline = Outline(page(report | {"class_examples": {}}, {}))
    assert outline.section("pictures").endswith("No image is accepted.")
