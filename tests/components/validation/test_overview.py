"""The report's figures and lists: plain values, cut to what a page can hold."""

import json

from components.duplicates.links import find_links
from components.manifest.table import as_manifest
from components.params.reader import Params
from tests.components.manifests import checked, faulty, image, rules


def test_the_report_is_plain_values_however_much_is_found(params: Params) -> None:
    rows = [image(n, "cat" if n % 3 else "dog", pixels_id=f"{n // 9}") for n in range(3000)]
    manifest = as_manifest(sorted(rows, key=lambda row: row["path"]))
    validation = checked(
        manifest, rules(params), find_links(manifest, rules(params).near_duplicates)
    )
    report = json.loads(json.dumps(validation.report.tree(), allow_nan=False))
    assert report["label_conflict_count"] == 334
    assert len(report["label_conflicts"]) == 100
    first = report["label_conflicts"][0]
    assert (first["images"], first["labels"]) == (9, ["cat", "dog"])
    assert first["members"][0] == {"path": "cat/001.png", "label": "cat"}


def test_the_overview_counts_what_there_is(params: Params) -> None:
    rows = [image(number, "cat" if number % 2 else "dog") for number in range(60)]
    others = [image(100, width=300, format="jpeg", entropy=0.0), faulty(101, "truncated")]
    report = checked(rows + others, rules(params)).report.tree()
    assert report["formats"] == {"jpeg": 1, "png": 60}
    assert report["sizes"][0] == {"width": 30, "height": 20, "images": 60}
    assert report["faults"] == {"truncated": {"files": 1, "examples": ["cat/101.png"]}}
    entropy = report["facts"]["entropy"]
    assert (entropy["counts"][0], entropy["counts"][28]) == (1, 60)
    assert (entropy["edges"][28], entropy["unknown"]) == (7.0, 1)
