"""The tree of report.json → the few of its items that a page shows, and what they come to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from components.validation.page.wording import GALLERIES

LARGEST, SMALLEST = 30, 10  # classes; the ends tell how uneven the counts are
EXAMPLES = 12  # of one fault or expectation
SUSPECTS = 24
ROWS = 40
CHANGES = ("added", "removed", "relabelled_to", "relabelled_from", "moved", "changed")
NO_DIFFERENCE: dict[str, Any] = {"revision": None, "notes": [], "per_class": []}

Tree = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Excerpt(Generic[T]):
    """The first items of a list, and how long it is."""

    items: tuple[T, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.items)


@dataclass(frozen=True)
class ClassRow:
    """A class; share: of all accepted images."""

    label: str
    before: int
    after: int
    share: float


@dataclass(frozen=True)
class Classes:
    """The largest classes, the smallest of the others, and how many lie between them."""

    largest: tuple[ClassRow, ...]
    between: tuple[ClassRow, ...]
    smallest: tuple[ClassRow, ...]

    @property
    def most(self) -> int:
        """Images of the class that had most before quarantine, at least 1."""
        rows = (*self.largest, *self.between, *self.smallest)
        return max([row.before for row in rows], default=1) or 1

    @property
    def ratio(self) -> float | None:
        """How many times the images of the smallest class the largest has; None for empty ones."""
        least = (self.smallest or self.largest)[-1:]
        return self.largest[0].after / least[0].after if least and least[0].after else None


@dataclass(frozen=True)
class Example:
    """A picture that fails an expectation; value: what was measured of it, in words."""

    path: str
    value: str


@dataclass(frozen=True)
class Gallery:
    """An expectation on pictures that some fail."""

    title: str
    name: str
    rule: str
    on_fail: str
    examples: Excerpt[Example]


def classes(report: Tree) -> Classes:
    """Return the classes by what is left of them, the largest first."""
    accepted = max(report["accepted"], 1)
    rows = [
        ClassRow(label, found["before"], found["after"], found["after"] / accepted)
        for label, found in report["classes"].items()
    ]
    rows.sort(key=lambda row: (-row.after, -row.before, row.label))
    if len(rows) <= LARGEST + SMALLEST:
        return Classes(tuple(rows), (), ())
    ends = LARGEST, len(rows) - SMALLEST
    return Classes(tuple(rows[: ends[0]]), tuple(rows[slice(*ends)]), tuple(rows[ends[1] :]))


def reasons(report: Tree) -> dict[str, int]:
    """Return code of a fault or name of an expectation → files quarantined for it, most first.

    A file that has several reasons counts below each.
    """
    counts: Counter[str] = Counter()
    for together, files in report["quarantined_by_reason"].items():
        for reason in together.split(", "):
            counts[reason] += files
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def galleries(report: Tree) -> list[Gallery]:
    """Return the expectations on pictures that some fail, with those that fail them most."""
    return [
        Gallery(
            GALLERIES[found["name"]][0],
            found["name"],
            found["rule"],
            found["on_fail"],
            _examples(found),
        )
        for found in report["expectations"]
        if found["name"] in GALLERIES and found["offenders"]
    ]


def offenders(report: Tree, name: str) -> int:
    """Return how many files or labels fail an expectation."""
    return sum(found["offenders"] for found in report["expectations"] if found["name"] == name)


def shortcuts(report: Tree) -> Excerpt[Tree]:
    """Return the labels that facts of the file tell best, the best told first."""
    rows = report["shortcuts"]["labels"]
    told = sorted(rows, key=lambda row: (-row["file_auc"], -row["picture_auc"], row["label"]))
    return Excerpt(tuple(told[:ROWS]), len(rows))


def suspects(report: Tree) -> Excerpt[Tree]:
    """Return the suspected label errors, the likeliest first."""
    found = report["label_errors"] or {"suspects": (), "suspect_count": 0}
    return Excerpt(tuple(found["suspects"][:SUSPECTS]), found["suspect_count"])


def slips(report: Tree) -> Excerpt[Tree]:
    """Return sets of labels that are alike but for case and blanks: label → images before."""
    found = [
        {
            label: report["classes"].get(label, {"before": 0})["before"]
            for label in labels[:EXAMPLES]
        }
        for labels in report["label_slips"]
    ]
    return Excerpt(tuple(found[:ROWS]), len(found))


def difference(report: Tree) -> dict[str, Any]:
    """Return what changed since the previous revision; no classes where there is none."""
    return NO_DIFFERENCE | dict(report.get("difference") or {})


def changes(report: Tree) -> Excerpt[Tree]:
    """Return the classes that differ from the previous revision, those with most changes first."""
    rows = difference(report)["per_class"]
    weights = {row["label"]: sum(row[what] for what in CHANGES) for row in rows}
    changed = [row for row in rows if weights[row["label"]]]
    changed.sort(key=lambda row: (-weights[row["label"]], row["label"]))
    return Excerpt(tuple(changed[:ROWS]), len(changed))


def _examples(found: Tree) -> Excerpt[Example]:
    form = GALLERIES[found["name"]][1]
    examples = [
        Example(each["name"], "" if each["value"] is None else form.format(each["value"]))
        for each in found["examples"][:EXAMPLES]
    ]
    return Excerpt(tuple(examples), found["offenders"])
