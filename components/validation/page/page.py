"""The content of report.json and thumbnails → the HTML of report.html.

The argument `report` of the functions here is the content of report.json as nested dicts and lists
(a "tree"). All data on the page come from this tree, except the thumbnails. The functions sort the
data and choose what the page shows. `page.html.jinja` is the template of the page, and `page.css`
is its style.

An expectation is an entry of the section `validate` of params.yaml. The stage `validate` checks
whether the data meet the expectations.

A list that may be too long for the page is cut by the function `excerpt`. The result of this
function is called an excerpt. It is a dict: `rows` has the first items, `total` is the length of
the whole list, and `more` is the number of items that the page does not show.
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
from components.validation.spellings import distinct
from components.words import count_text

TEMPLATE = Path(__file__).with_name("page.html.jinja")

OUTCOMES = ("stop", "quarantine", "warn", "met")  # outcomes of an expectation, the worst first
# Each of the next numbers is a maximum number of items on the page.
LARGEST, SMALLEST = 30, 10  # the largest classes, the smallest classes
EXAMPLES = 12  # files with one fault, files that fail one expectation, labels spelled alike
SETS = 24  # sets of copies of one kind
RANKED, OPEN = 100, 24  # images in the ranking of labels; of these, shown without a click
MEMBERS = 6  # images of one set of copies
ROWS = 40  # rows of a long table
SHORT_ROWS = 8  # rows of a table beside the histograms
# The list `per_class` of the report has one row for each class. Each key below stands for one kind
# of change since the previous revision of the data. A row has, under each key, the number of images
# with this kind of change.
CHANGES = ("added", "removed", "relabelled_to", "relabelled_from", "moved", "changed")

Tree = Mapping[str, Any]


def page(report: Tree, pictures: Mapping[str, Pixels]) -> str:
    """Return the HTML of the page. The same arguments give the same text.

    report: the content of report.json. pictures: path → thumbnail, uint8 [h, w, 3], for the paths
    that `picture_paths` returns. If a path is missing in `pictures`, the page shows the text "not
    decoded" instead of a picture.
    """
    return render(
        TEMPLATE,
        report=report,
        thumbnails=pictured(pictures),
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
        class_pictures=class_pictures(report),
        galleries=galleries(report),
        shared=shared_faults(report),
        tables=tables(report),
        histograms=list(histograms(report)),
        copies=copies(report),
        shortcuts=shortcuts(report),
        suspects=ranking(report["label_errors"]),
        slips=slips(report),
        difference=difference(report),
    )


def pictured(pictures: Mapping[str, Pixels]) -> dict[str, tuple[str, bool]]:
    """Return path → (data URI of the thumbnail, whether the picture is tiny), for a template."""
    return {path: (picture_uri(image), is_tiny(image)) for path, image in pictures.items()}


def picture_paths(report: Tree) -> list[str]:
    """Return the paths of the pictures on the page, each path once, in the order of the page."""
    lists = [
        *(gallery["examples"] for gallery in galleries(report)),
        *(copy["members"] for sets in copies(report).values() for copy in sets["rows"]),
        ranking(report["label_errors"]),
    ]
    examples = [path for paths in class_pictures(report).values() for path in paths]
    listed = [picture["path"] for part in lists for picture in part["rows"]]
    return list(dict.fromkeys([*examples, *listed]))


def excerpt(items: Sequence[Any], total: int, most: int) -> dict[str, Any]:
    """Return the first `most` items, the length of the whole list, and how many items are left out.

    items: the items of the list; report.json may have only the first items of a long list. total:
    the length of the whole list. most: the maximum number of items that the page shows.

    >>> excerpt(["a", "b", "c"], total=9, most=2)
    {'rows': ['a', 'b'], 'total': 9, 'more': 7}
    """
    rows = list(items[:most])
    return {"rows": rows, "total": total, "more": total - len(rows)}


def verdict(report: Tree) -> dict[str, str]:
    """Return the result of the stage `validate`, for the top of the page.

    The result has these keys:

    kind: the outcome for the data set, one of OUTCOMES.
    title: a short text that says whether the run goes on.
    sentence: one or two sentences. They say how many files are accepted, and why the run stops or
        how many expectations warn.
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
    """Return a sentence about the expectations; it may be empty.

    If the run stops, the sentence says why. If the run goes on and all expectations are met, the
    sentence says that all are met. Otherwise the sentence says how many expectations warn. If no
    expectation warns, the sentence is empty.
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

    Expectations with the same outcome stay in the order of the argument `expectations`.
    """
    return sorted(expectations, key=lambda rule: OUTCOMES.index(outcome(rule)))


def quarantine_reasons(report: Tree) -> dict[str, int]:
    """Return reason → the number of files quarantined for this reason, the largest number first.

    A reason is the code of a fault (such as `truncated`) or the name of an expectation (such as
    `dark`). A file with several reasons is counted once for each reason.

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
        `largest` and in `smallest`. For `between`, the page only says how many classes there are,
        and the numbers of images of the largest and the smallest of these classes.
    most: the highest number of images that a class has before quarantine; 1 if there is no image.
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


def class_pictures(report: Tree) -> dict[str, list[str]]:
    """Return label → the paths of its example images, for the classes that the page lists."""
    listed = classes(report)
    labels = [row["label"] for row in (*listed["largest"], *listed["smallest"])]
    examples = report["class_examples"]
    return {label: examples[label] for label in labels if label in examples}


def galleries(report: Tree) -> list[dict[str, Any]]:
    """Return a gallery for each expectation on single pictures with at least one example.

    A gallery has the keys of the expectation in report.json, with two changes: the key `title` is
    added, and `examples` becomes an excerpt of the files that fail the expectation.
    """
    rules = [rule for rule in report["expectations"] if rule["examples"]]
    return [_gallery(rule) for rule in rules if rule["name"] in wording.GALLERIES]


def _gallery(rule: Tree) -> dict[str, Any]:
    title, words = wording.GALLERIES[rule["name"]]
    pictures = [
        {"path": name, "value": "" if value is None else words.format(value)}
        for name, value in map(itemgetter("name", "value"), rule["examples"])
    ]
    total = rule["offenders"] - sum(fault["files"] for fault in rule["shared"])
    return {**rule, "title": title, "examples": excerpt(pictures, total, EXAMPLES)}


def shared_faults(report: Tree) -> list[dict[str, Any]]:
    """Return the faults that most pictures of the data set, or of a class, have.

    A fault has the keys of `shared` in report.json, the keys `rule` and `on_fail` of its
    expectation, and `title`, the title of the gallery of the expectation.
    """
    return [
        {**fault, **rule, "title": wording.GALLERIES[rule["name"]][0]}
        for rule in report["expectations"]
        for fault in rule["shared"]
    ]


def tables(report: Tree) -> dict[str, dict[str, Any]]:
    """Return title of a table → an excerpt of the table's rows, the most common value first.

    A row is the pair (value, number of images with this value).
    """
    pixels = "{width:,} × {height:,}".format_map
    sizes = [(pixels(size), size["images"]) for size in report["sizes"]]
    counts = {title: _by_count(report.get(key, {})) for key, title in wording.TABLES.items()}
    return {
        "Sizes": excerpt(sizes, report["size_count"], SHORT_ROWS),
        **{title: excerpt(rows, len(rows), SHORT_ROWS) for title, rows in counts.items()},
    }


def histograms(report: Tree) -> Iterator[tuple[wording.FactWords, str, Histogram]]:
    """Yield (words, median as text, histogram) for each fact with a value for at least one file.

    A fact is a number that describes an image or its file, such as the brightness.
    """
    for name, words in wording.FACTS.items():
        edges, counts, median = itemgetter("edges", "counts", "median")(report["facts"][name])
        if median is not None:
            yield words, words.write(median), histogram(edges, counts, median, words.write)


def copies(report: Tree) -> dict[str, dict[str, Any]]:
    """Return excerpts of four lists of sets of copies.

    conflicts: sets of exact copies with several labels. near_conflicts: sets of near copies with
    several labels. copy_sets: sets of exact copies with at most one label. near_clusters: sets of
    near copies with at most one label. (Blank labels are not counted.)

    Exact copies have the same pixels. Near copies look nearly the same.
    """
    return {
        "conflicts": _copies(report, "label_conflict"),
        "near_conflicts": _copies(report, "near_conflict"),
        "copy_sets": _copies(report, "copy_set", conflicts="label_conflict"),
        "near_clusters": _copies(report, "near_cluster", conflicts="near_conflict"),
    }


def _copies(report: Tree, kind: str, conflicts: str = "") -> dict[str, Any]:
    """Return an excerpt of the sets of one kind.

    kind: the kind, such as `copy_set`; the report has the sets of this kind under the key
    `copy_sets`. conflicts: the name of another kind, which contains the sets with several labels,
    such as `label_conflict`; "" if there is no such kind. If `conflicts` is given, sets with
    several labels are left out here, so that the page does not show them twice.
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

    The texts say how many images the set has (only if the set has more than two images), how
    similar the images are, whether an image is mirrored, and by which angles images are turned.
    Similarities are rounded down, so that 0.999 is not shown as 1.00.

    links: links between two copies, with the paths of the two copies under the keys path and other.
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
    """Return an excerpt of the labels with the AUC of each label, the highest AUC first.

    The AUC says how well the label is predicted from facts of the file, such as the file size. The
    result also has the key `offenders`, the number of labels that fail the expectation `shortcuts`.
    These labels are at the start of the list.
    """
    offenders = {rule["name"]: rule["offenders"] for rule in report["expectations"]}
    labels = report["shortcuts"]["labels"]
    rows = sorted(labels, key=lambda row: (-row["file_auc"], -row["picture_auc"], row["label"]))
    return {**excerpt(rows, len(rows), ROWS), "offenders": offenders.get("shortcuts", 0)}


def ranking(errors: Tree | None) -> dict[str, Any]:
    """Return an excerpt of the ranking of labels; the label that fits worst is the first.

    The result also has the keys `count`, the number of all suspected labels, and `open`, the number
    of images that the page shows without a click.

    errors: the key `label_errors` of the report; None if the labels were not examined.
    """
    errors = errors or {"ranking": [], "images": 0, "suspect_count": 0}
    total = errors["images"] if errors["ranking"] else 0
    rows = excerpt(errors["ranking"], total, RANKED)
    return {**rows, "count": errors["suspect_count"], "open": OPEN}


def slips(report: Tree) -> dict[str, Any]:
    """Return an excerpt of the sets of labels that are spelled alike.

    A set is a dict: label → number of images with this label before quarantine. Labels that look
    the same are followed by their characters.
    """
    images = {label: counts["before"] for label, counts in report["classes"].items()}
    sets = [
        {text: images.get(label, 0) for text, label in zip(distinct(labels), labels, strict=True)}
        for labels in (labels[:EXAMPLES] for labels in report["label_slips"])
    ]
    return excerpt(sets, len(sets), ROWS)


def difference(report: Tree) -> dict[str, Any]:
    """Return what changed in the data since the previous revision.

    The result has the keys of `difference` in report.json, and one more key, `changes`: an excerpt
    of the changed classes, the class with the highest number of changed images first.
    """
    tree = {"revision": None, "notes": [], "per_class": [], **(report.get("difference") or {})}
    sizes = {row["label"]: sum(row[key] for key in CHANGES) for row in tree["per_class"]}
    rows = [row for row in tree["per_class"] if sizes[row["label"]]]
    rows.sort(key=lambda row: (-sizes[row["label"]], row["label"]))
    return {**tree, "changes": excerpt(rows, len(rows), ROWS)}
