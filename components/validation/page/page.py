"""The tree of report.json and thumbnails → the HTML of report.html.

The tree is the content of report.json as nested dicts and lists. All data on the page come from
the tree, except the thumbnails. The functions here sort the data and choose what the page shows.
`page.html.jinja` draws the page, and `page.css` is its style.

Lists that may be too long for the page are cut by `excerpt`. It returns a dict: `rows` has the
first items, `total` is the length of the whole list, and `more` is the number of items that the
page does not show.
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

OUTCOMES = ("stop", "quarantine", "warn", "met")  # outcomes of an expectation, the worst first
# Maximum numbers of items on the page.
LARGEST, SMALLEST = 30, 10  # number of the largest classes, number of the smallest classes
EXAMPLES = 12  # number of files for one fault or one expectation, number of labels spelled alike
SUSPECTS = SETS = 24  # number of suspected labels, number of sets of copies of one kind
MEMBERS = 6  # number of images of one set of copies
ROWS = 40  # number of rows of a long table
SHORT_ROWS = 8  # number of rows of a table beside the histograms
# The keys of a row of `per_class` that hold the number of changed images, one key for each kind of
# change since the previous revision.
CHANGES = ("added", "removed", "relabelled_to", "relabelled_from", "moved", "changed")

Tree = Mapping[str, Any]


def page(report: Tree, pictures: Mapping[str, Pixels]) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    report: the tree of report.json. pictures: path → thumbnail, uint8 [h, w, 3], for the paths that
    `picture_paths` returns. If a path has no thumbnail, the page shows the text "not decoded".
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
    """Return the paths of the pictures on the page, in the order of the page, without repeats."""
    lists = [
        *(gallery["examples"] for gallery in galleries(report)),
        *(copy["members"] for sets in copies(report).values() for copy in sets["rows"]),
        suspects(report),
    ]
    return list(dict.fromkeys(picture["path"] for part in lists for picture in part["rows"]))


def excerpt(items: Sequence[Any], total: int, most: int) -> dict[str, Any]:
    """Return the first `most` items, the length of the whole list, and how many items are left out.

    items: a list, which may already be cut. total: the length of the whole list before any cut.

    >>> excerpt(["a", "b", "c"], total=9, most=2)
    {'rows': ['a', 'b'], 'total': 9, 'more': 7}
    """
    rows = list(items[:most])
    return {"rows": rows, "total": total, "more": total - len(rows)}


def verdict(report: Tree) -> dict[str, str]:
    """Return the result of validation for the top of the page.

    The result has these keys:

    kind: the outcome of validation, one of OUTCOMES.
    title: a short text that says whether the run goes on.
    sentence: a text that says how many files are accepted, and why the run stops or how many
        expectations warn.
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
    """Return a sentence about the expectations.

    If the run stops, the sentence says why. If all expectations are met, it says so. Otherwise it
    says how many expectations warn, and it is empty if no expectation warns.
    """
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
    """Return the outcome of an expectation, one of OUTCOMES."""
    return "met" if expectation["passed"] else str(expectation["on_fail"])


def expectations_by_outcome(expectations: Iterable[Tree]) -> list[Tree]:
    """Sort expectations by their outcome, the worst outcome first.

    Expectations with the same outcome stay in the order in which they are given.
    """
    return sorted(expectations, key=lambda rule: OUTCOMES.index(outcome(rule)))


def quarantine_reasons(report: Tree) -> dict[str, int]:
    """Return reason → the number of files quarantined for this reason, the largest number first.

    A reason is the code of a fault or the name of an expectation. A file with several reasons is
    counted once for each reason.

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
    """Return the classes sorted by their number of accepted images, the largest number first.

    The result has these keys:

    largest, between, smallest: the sorted classes in three parts. The page lists the classes in
        `largest` and `smallest`. It only says how many classes are in `between`, and their sizes.
    most: the number of images of the largest class before quarantine, at least 1.
    ratio: the number of accepted images of the largest class, divided by the number of accepted
        images of the smallest class. It is None if the smallest class has no accepted image.
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
    """Return galleries for the expectations on single pictures, at most one for each expectation.

    A gallery is the expectation with a title and an excerpt of the files that fail it. If no file
    fails an expectation, the expectation has no gallery.
    """
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
    """Return title of a table → an excerpt of its rows, the most common value first.

    A row is (value, number of images with this value).
    """
    pixels = "{width:,} × {height:,}".format_map
    sizes = [(pixels(size), size["images"]) for size in report["sizes"]]
    counts = {title: _by_count(report.get(key, {})) for key, title in wording.TABLES.items()}
    return {
        "Sizes": excerpt(sizes, report["size_count"], SHORT_ROWS),
        **{title: excerpt(rows, len(rows), SHORT_ROWS) for title, rows in counts.items()},
    }


def histograms(report: Tree) -> Iterator[tuple[wording.FactWords, str, Histogram]]:
    """Yield (words, median as text, histogram) for each fact that at least one file has."""
    for name, words in wording.FACTS.items():
        edges, counts, median = itemgetter("edges", "counts", "median")(report["facts"][name])
        if median is not None:
            yield words, words.write(median), histogram(edges, counts, median, words.write)


def copies(report: Tree) -> dict[str, dict[str, Any]]:
    """Return four lists of sets of copies.

    conflicts: sets of exact copies with several labels. near_conflicts: sets of near copies with
    several labels. copy_sets: sets of exact copies with at most one label. near_clusters: sets of
    near copies with at most one label.
    """
    return {
        "conflicts": _copies(report, "label_conflict"),
        "near_conflicts": _copies(report, "near_conflict"),
        "copy_sets": _copies(report, "copy_set", conflicts="label_conflict"),
        "near_clusters": _copies(report, "near_cluster", conflicts="near_conflict"),
    }


def _copies(report: Tree, kind: str, conflicts: str = "") -> dict[str, Any]:
    """Return an excerpt of the sets of one kind.

    kind: the kind, such as `copy_set`. The report has the sets of this kind under the key
    `copy_sets`. conflicts: the kind that contains only the sets with several labels, such as
    `label_conflict`. If `conflicts` is given, sets with several labels are left out here, so that
    the page does not show them twice.
    """
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
    """Yield short texts about a set of copies.

    Every text is about one of these facts: the number of images (only if the set has more than
    two), the similarity of the images, mirrored images, or the angle by which images are turned.
    Similarities are rounded down, so that 0.999 is not shown as 1.00.
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
    """Return an excerpt of the labels, the label that facts of the file predict best first.

    The key `offenders` is the number of labels that fail the expectation `shortcuts`. These labels
    are at the start of the list.
    """
    offenders = {rule["name"]: rule["offenders"] for rule in report["expectations"]}
    labels = report["shortcuts"]["labels"]
    rows = sorted(labels, key=lambda row: (-row["file_auc"], -row["picture_auc"], row["label"]))
    return {**excerpt(rows, len(rows), ROWS), "offenders": offenders.get("shortcuts", 0)}


def suspects(report: Tree) -> dict[str, Any]:
    """Return an excerpt of the suspected label errors, the most likely error first."""
    errors = report["label_errors"] or {"suspects": [], "suspect_count": 0}
    return excerpt(errors["suspects"], errors["suspect_count"], SUSPECTS)


def slips(report: Tree) -> dict[str, Any]:
    """Return an excerpt of the sets of labels that are spelled alike.

    A set is a dict: label → number of images with this label before quarantine.
    """
    images = {label: counts["before"] for label, counts in report["classes"].items()}
    sets = [
        {label: images.get(label, 0) for label in labels[:EXAMPLES]}
        for labels in report["label_slips"]
    ]
    return excerpt(sets, len(sets), ROWS)


def difference(report: Tree) -> dict[str, Any]:
    """Return what changed since the previous revision.

    The key `changes` is an excerpt of the changed classes, the class with the most changes first.
    """
    tree = {"revision": None, "notes": [], "per_class": [], **(report.get("difference") or {})}
    sizes = {row["label"]: sum(row[key] for key in CHANGES) for row in tree["per_class"]}
    rows = [row for row in tree["per_class"] if sizes[row["label"]]]
    rows.sort(key=lambda row: (-sizes[row["label"]], row["label"]))
    return {**tree, "changes": excerpt(rows, len(rows), ROWS)}
