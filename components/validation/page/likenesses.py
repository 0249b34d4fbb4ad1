"""Sets of copies in the tree of report.json → the few that a page shows side by side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from components.pages.words import counted
from components.validation.page.excerpts import Excerpt, Tree

SETS = 24
MEMBERS = 6  # of one set


@dataclass(frozen=True)
class Copies:
    """A set of images that are the same picture; facts: how like each other they are, in words."""

    labels: tuple[str, ...]
    members: Excerpt[Tree]
    facts: tuple[str, ...]


def conflicts(report: Tree) -> Excerpt[Copies]:
    """Return sets of equal pixels under several labels."""
    found = [_copies(each, []) for each in report["label_conflicts"][:SETS]]
    return Excerpt(tuple(found), report["label_conflict_count"])


def near_conflicts(report: Tree) -> Excerpt[Copies]:
    """Return clusters of near copies under several labels."""
    found = [_copies(each, report["near_links"]) for each in report["near_conflicts"][:SETS]]
    return Excerpt(tuple(found), report["near_conflict_count"])


def copy_sets(report: Tree) -> Excerpt[Copies]:
    """Return sets of equal pixels under one label; the others are conflicts."""
    found = [_copies(each, []) for each in report["copy_sets"] if not _contradicts(each)]
    total = report["copy_set_count"] - report["label_conflict_count"]
    return Excerpt(tuple(found[:SETS]), total)


def near_clusters(report: Tree) -> Excerpt[Copies]:
    """Return clusters of near copies under one label; the others are conflicts."""
    links = report["near_links"]
    found = [_copies(each, links) for each in report["near_clusters"] if not _contradicts(each)]
    total = report["near_cluster_count"] - report["near_conflict_count"]
    return Excerpt(tuple(found[:SETS]), total)


def _contradicts(found: Tree) -> bool:
    return len([label for label in found["labels"] if label]) > 1


def _copies(found: Tree, links: Sequence[Tree]) -> Copies:
    """Take what a page shows of a set; its own `links` where the report has them, else `links`."""
    members = Excerpt(tuple(found["members"][:MEMBERS]), found["images"])
    inside = {member["path"] for member in found["members"]}
    links = found.get("links", links)
    among = [link for link in links if {link["path"], link["other"]} <= inside]
    many = [counted(members.total, "image")] if members.total > 2 else []
    return Copies(tuple(found["labels"]), members, (*many, *_facts(among)))


def _facts(links: Sequence[Tree]) -> Iterator[str]:
    """Yield how similar linked images are, and how they are turned against each other.

    Rounded down, so that what is not quite equal is not said to be.
    """
    if not links:
        return
    similarities = [math.floor(100 * link["similarity"]) / 100 for link in links]
    low, high = min(similarities), max(similarities)
    yield f"similarity {low:.2f}" if low == high else f"similarity {low:.2f}–{high:.2f}"
    if any(link["mirrored"] for link in links):
        yield "mirrored"
    turns = {round(link["degrees"]) % 360 for link in links} - {0}
    yield from (f"turned {turn}°" for turn in sorted(turns))
