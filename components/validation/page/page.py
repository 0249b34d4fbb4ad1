"""The tree of report.json, thumbnails → report.html, one page to look at.

All that the page shows is in the tree. The functions here choose what fits on a page, and sort it;
`page.html.jinja` draws it, and `page.css` is its style. A list that may be cut is a dict: `rows`
has its first items, `total` says how long it is, `more` how many items are not shown.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from components.images.decoder import Pixels
from components.pages.charts import Histogram, histogram
from components.pages.page import render
from components.validation.page import wording
from components.validation.page.thumbnails import is_tiny, picture_uri
from components.words import count_text

TEMPLATE = Path(__file__).with_name("page.html.jinja")

OUTCOMES = ("stop", "quarantine", "warn", "met")  # of an expectation, the worst first
LARGEST, SMALLEST = 30, 10  # classes; the two ends show how uneven the counts are
EXAMPLES = 12  # of one fault or expectation
SUSPECTS = SETS = 24
MEMBERS = 6  # of one set of copies
ROWS = 40  # of a long table
SHORT_ROWS = 8  # of a table that stands among the histograms
CHANGES = ("added", "removed", "relabelled_to", "relabelled_from", "moved", "changed")

Tree = Mapping[str, Any]


def page(report: Tree, pictures: Mapping[str, Pixels]) -> str:
    """Return the page; the same arguments give the same bytes.

    report: the tree of report.json. pictures: path → thumbnail, uint8 [h, w, 3], of those that
    `picture_paths` names; the page says "not decoded" in the place of one that is missing.
    """
    return render(
        TEMPLATE,
        report=report,
        thumbnails={path: (picture_uri(image), is_tiny(image)) for path, image in pictures.items()},
        words=wording,
        outcome=outcome,
        verdict=verdict(report),
        expectations=expectations_by_outcome(report["expectations"]),
        on_fail={rule["name"]: rule["on_fail"] for rule in report["expectations"]},
        reasons=quarantine_reasons(report),
        faults={
            code: excerpt(examples["examples"], examples["files"], EXAMPLES)
            for code, examples in report["faults"].items()
        },
        classes=classes(report),
        galleries=galleries(report),
        tables=tables(report),
        histograms=list(histograms(report)),
        copies=copies(report),
        shortcuts=shortcuts(report),
        suspects=suspects(report),
        slips=slips(report),
        difference=difference(report),
    )


def picture_paths(report: Tree) -> list[str]:
    """Return the paths of the pictures that the page shows, without repeats, in its order."""
    lists = [
        *(gallery["examples"] for gallery in galleries(report)),
        *(copy["members"] for sets in copies(report).values() for copy in sets["rows"]),
        suspects(report),
    ]
    return list(dict.fromkeys(picture["path"] for part in lists for picture in part["rows"]))


def excerpt(items: Sequence[Any], total: int, most: int) -> dict[str, Any]:
    """Return the first `most` items. total: the length of the list that `items` are the start of.

    >>> excerpt(["a", "b", "c"], total=9, most=2)
    {'rows': ['a', 'b'], 'total': 9, 'more': 7}
    """
    rows = list(items[:most])
    return {"rows": rows, "total": total, "more": total - len(rows)}


def verdict(report: Tree) -> dict[str, str]:
    """Say how much of the data goes on, and what keeps back the rest or stops the run.

    kind: one of OUTCOMES. title: a few words. sentence: the reasons.
    """
    kind, title, reasons = "met", "The run goes on", [_accepted(report), _rules(report)]
    if report["outcome"] == "stopped":
        kind, title, reasons = "stop", "The run stops here", reasons[::-1]
    elif files := report["rows"] - report["accepted"]:
        kind, title = "quarantine", f"The run goes on without {count_text(files, 'file')}"
    elif not report["passed"]:
        kind, title = "warn", "The run goes on, with warnings"
    return {"kind": kind, "title": title, "sentence": " ".join(filter(None, reasons))}


def _accepted(report: Tree) -> str:
    rows, accepted, rest = report["rows"], report["accepted"], report["quarantined"]
    if not rows:
        return "There is not a single file."
    if rows == accepted:
        return f"All {count_text(rows, 'image is', 'images are')} accepted."
    reason, files = next(iter(quarantine_reasons(report).items()))
    why = f" for {reason}" if files == rest else f", most often for {reason} ({files:,})"
    total = count_text(rows, "file is", "files are")
    return f"{accepted:,} of {total} accepted, the other {rest:,} quarantined{why}."


def _rules(report: Tree) -> str:
    """Name what stops the run, or count the expectations that warn."""
    rules = report["expectations"]
    stops, warns = (
        [rule["name"] for rule in rules if outcome(rule) == kind] for kind in ("stop", "warn")
    )
    if report["outcome"] == "stopped":
        *others, last = stops or [""]
        names = f"{', '.join(others)}{' and ' * bool(others)}{last}"
        return f"Stopped by {names}." if stops else "Fewer than two classes are left."
    if report["passed"]:
        return f"All {count_text(len(rules), 'expectation')} are met."
    verb = "warns" if len(warns) == 1 else "warn"
    return f"{len(warns)} of {count_text(len(rules), 'expectation')} {verb}." if warns else ""


def outcome(expectation: Tree) -> str:
    """Return which of OUTCOMES an expectation leads to."""
    return "met" if expectation["passed"] else str(expectation["on_fail"])


def expectations_by_outcome(expectations: Iterable[Tree]) -> list[Tree]:
    """Return expectations with the worst first; those of one outcome keep their order."""
    return sorted(expectations, key=lambda rule: OUTCOMES.index(outcome(rule)))


def quarantine_reasons(report: Tree) -> dict[str, int]:
    """Return code of a fault or name of an expectation → files quarantined for it, most first.

    A file that has several reasons counts below each.

    >>> quarantine_reasons({"quarantined_by_reason": {"dark, blurry": 3, "blurry": 2}})
    {'blurry': 5, 'dark': 3}
    """
    counts: Counter[str] = Counter()
    for reasons, files in report["quarantined_by_reason"].items():
        counts.update(dict.fromkeys(reasons.split(", "), files))
    return dict(_by_count(counts))


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def classes(report: Tree) -> dict[str, Any]:
    """Return the classes by the images that are left of them, the largest first.

    largest, between, smallest: all rows in three parts; the page shows the two ends. most: images
    of the class that had most before quarantine. ratio: largest to smallest, None if that is empty.
    """
    accepted = max(report["accepted"], 1)
    rows = [
        {"label": label, **counts, "share": counts["after"] / accepted}
        for label, counts in report["classes"].items()
    ]
    rows.sort(key=lambda row: (-row["after"], -row["before"], row["label"]))
    top = bottom = len(rows)
    if len(rows) > LARGEST + SMALLEST:
        top, bottom = LARGEST, len(rows) - SMALLEST
    least = rows[-1]["after"] if rows else 0
    return {
        "largest": rows[:top],
        "between": rows[top:bottom],
        "smallest": rows[bottom:],
        "most": max([1, *(row["before"] for row in rows)]),
        "ratio": rows[0]["after"] / least if least else None,
    }


def galleries(report: Tree) -> list[dict[str, Any]]:
    """Return the expectations on single pictures that some fail, with the worst examples."""
    rules = [rule for rule in report["expectations"] if rule["offenders"]]
    return [_gallery(rule) for rule in rules if rule["name"] in wording.GALLERIES]


def _gallery(rule: Tree) -> dict[str, Any]:
    title, words = wording.GALLERIES[rule["name"]]
    pictures = [
        {"path": name, "value": "" if value is None else words.format(value)}
        for name, value in map(itemgetter("name", "value"), rule["examples"])
    ]
    return {**rule, "title": title, "examples": excerpt(pictures, rule["offenders"], EXAMPLES)}


def tables(report: Tree) -> dict[str, dict[str, Any]]:
    """Return what decoded pictures are, by title: rows of (what, images), the most common first."""
    pixels = "{width:,} × {height:,}".format_map
    sizes = [(pixels(size), size["images"]) for size in report["sizes"]]
    counts = {title: _by_count(report.get(key, {})) for key, title in wording.TABLES.items()}
    return {
        "Sizes": excerpt(sizes, report["size_count"], SHORT_ROWS),
        **{title: excerpt(rows, len(rows), SHORT_ROWS) for title, rows in counts.items()},
    }


def histograms(report: Tree) -> Iterator[tuple[wording.FactWords, str, Histogram]]:
    """Yield words, median and histogram of each fact that was measured."""
    for name, words in wording.FACTS.items():
        edges, counts, median = itemgetter("edges", "counts", "median")(report["facts"][name])
        if median is not None:
            yield words, words.write(median), histogram(edges, counts, median, words.write)


def copies(report: Tree) -> dict[str, dict[str, Any]]:
    """Return sets of the same picture: equal or near copies, under several labels or under one."""
    return {
        "conflicts": _copies(report, "label_conflict"),
        "near_conflicts": _copies(report, "near_conflict"),
        "copy_sets": _copies(report, "copy_set", conflicts="label_conflict"),
        "near_clusters": _copies(report, "near_cluster", conflicts="near_conflict"),
    }


def _copies(report: Tree, kind: str, conflicts: str = "") -> dict[str, Any]:
    """Return sets of one kind. conflicts: the kind that has those of them under several labels."""
    sets, total = report[f"{kind}s"], report[f"{kind}_count"]
    links = report["near_links"] if kind.startswith("near") else []
    if conflicts:
        sets = [copy for copy in sets if sum(map(bool, copy["labels"])) < 2]
        total -= report[f"{conflicts}_count"]
    rows = [
        {
            "labels": copy["labels"],
            "members": excerpt(copy["members"], copy["images"], MEMBERS),
            "facts": list(_likeness(copy, copy.get("links", links))),
        }
        for copy in sets[:SETS]
    ]
    return excerpt(rows, total, SETS)


def _likeness(copy: Tree, links: Sequence[Tree]) -> Iterator[str]:
    """Yield how many images a set has, how similar they are, and how they are turned.

    Similarities are rounded down: only equal pictures have 1.00.
    """
    if copy["images"] > 2:
        yield count_text(copy["images"], "image")
    paths = {member["path"] for member in copy["members"]}
    links = [link for link in links if {link["path"], link["other"]} <= paths]
    if not links:
        return
    similarities = [math.floor(100 * link["similarity"]) / 100 for link in links]
    low, high = min(similarities), max(similarities)
    yield f"similarity {low:.2f}" if low == high else f"similarity {low:.2f}–{high:.2f}"
    if any(link["mirrored"] for link in links):
        yield "mirrored"
    turns = {round(link["degrees"]) % 360 for link in links} - {0}
    yield from (f"turned {turn}°" for turn in sorted(turns))


def shortcuts(report: Tree) -> dict[str, Any]:
    """Return labels by how well facts of the file predict them, the best first.

    offenders: how many of them fail the expectation; these come first.
    """
    offenders = {rule["name"]: rule["offenders"] for rule in report["expectations"]}
    labels = report["shortcuts"]["labels"]
    rows = sorted(labels, key=lambda row: (-row["file_auc"], -row["picture_auc"], row["label"]))
    return {**excerpt(rows, len(rows), ROWS), "offenders": offenders.get("shortcuts", 0)}


def suspects(report: Tree) -> dict[str, Any]:
    """Return the suspected label errors, the likeliest first."""
    errors = report["label_errors"] or {"suspects": [], "suspect_count": 0}
    return excerpt(errors["suspects"], errors["suspect_count"], SUSPECTS)


def slips(report: Tree) -> dict[str, Any]:
    """Return sets of labels that are alike but for case and blanks: label → images."""
    images = {label: counts["before"] for label, counts in report["classes"].items()}
    sets = [
        {label: images.get(label, 0) for label in labels[:EXAMPLES]}
        for labels in report["label_slips"]
    ]
    return excerpt(sets, len(sets), ROWS)


def difference(report: Tree) -> dict[str, Any]:
    """Return what changed since the previous revision; the classes with most changes first."""
    tree = {"revision": None, "notes": [], "per_class": [], **(report.get("difference") or {})}
    sizes = {row["label"]: sum(row[key] for key in CHANGES) for row in tree["per_class"]}
    rows = [row for row in tree["per_class"] if sizes[row["label"]]]
    rows.sort(key=lambda row: (-sizes[row["label"]], row["label"]))
    return {**tree, "changes": excerpt(rows, len(rows), ROWS)}
