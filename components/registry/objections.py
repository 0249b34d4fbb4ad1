"""A version and the standing → the reasons why the version must not become the champion.

A version becomes the champion only with the verdict `promote` from a comparison with the present
champion. Example: versions 2 and 3 were both compared with version 1. After version 2 is promoted,
version 3 must be compared with version 2 before it can be promoted.
"""

from collections.abc import Callable, Iterator

from components.errors import one_line
from components.registry.blessing import read_blessing
from components.registry.record import last_decision
from components.registry.standing import Standing
from components.registry.versions import COMPARED_WITH, Version, find_version

# A function that compares a version with another version, the champion, on the test images of this
# workspace, and writes the verdict to the tags of the first version. The second argument is None if
# there is no champion. If the test images are not here, nothing is written. The result is not used.
Judge = Callable[[Version, Version | None], object]

LONGEST_REASONS = 200  # characters of a verdict's reasons in an event or an error message


def judge_nothing(version: Version, champion: Version | None) -> None:
    """Write no verdict: the judge for a caller that has no test images."""


def judge_again(version: Version, standing: Standing, judge: Judge) -> Version:
    """Return the version with a verdict from a comparison with the champion of the record.

    If its verdict is from another comparison, it is judged again. The version is returned as it is
    if it was never judged, or if the test images are not here.
    """
    champion = standing.champion
    if not is_outdated(version, champion):
        return version
    judge(version, None if champion is None else find_version(version.name, str(champion)))
    return find_version(version.name, str(version.number))


def objections(version: Version, standing: Standing) -> Iterator[str]:
    """Yield the reasons for which a version must not replace the champion without an override."""
    yield from review_objections(version, standing)
    decision = version.tags.get("verdict")
    outdated = is_outdated(version, standing.champion)
    if outdated or decision == "promote":  # The reasons of another verdict have the doubts.
        yield from read_blessing(version).doubts
    if decision is None:
        yield "it was registered without a verdict"
    elif outdated:
        made, now = judged_against(_compared(version)), judged_against(_tag(standing.champion))
        yield f"its verdict, {decision}, was made {made}, not {now}"
    else:
        yield from rejections(version)
        if decision not in ("promote", "reject"):
            yield f"its verdict is {decision} ({_reasons(version)})"


def review_objections(version: Version, standing: Standing) -> Iterator[str]:
    """Yield the last decision of a reviewer about the version, if it was against the version.

    The decision is read from the record, and not from the tags of the version. The tags are missing
    if the process that decided was killed before it wrote them. A decision about another version of
    the same model counts, too.
    """
    event = last_decision(standing.record, version.number, version.model_id)
    if event is not None and event.declines:
        done = "rejected" if event.kind == "reject" else "rolled back"
        same = event.version == version.number
        what = "this version" if same else f"this model as version {event.version}"
        yield f"a reviewer {done} {what} ({event.why})"


def rejections(version: Version) -> Iterator[str]:
    """Yield the verdict of the gate if it was against the version."""
    if version.tags.get("verdict") == "reject":
        yield f"the gate rejected this version ({_reasons(version)})"


def is_outdated(version: Version, champion: int | None) -> bool:
    """Return True if the version has a verdict, but from a comparison with another champion."""
    return "verdict" in version.tags and _compared(version) != _tag(champion)


def _tag(number: int | None) -> str:
    """Return the value of the tag `compared_with` for a champion."""
    return "none" if number is None else str(number)


def _compared(version: Version) -> str:
    """Return the number of the champion of the version's verdict, `none`, or `` if unknown."""
    return version.tags.get(COMPARED_WITH, "")


def judged_against(champion: str) -> str:
    """Return in words with what a version was compared.

    champion: the value of the tag COMPARED_WITH; empty if the version does not have the tag.
    """
    if champion == "none":
        return "without a champion"
    return f"against version {champion}" if champion else "against an unknown version"


def _reasons(version: Version) -> str:
    reasons = one_line(version.tags.get("reasons", ""), longest=None)
    return reasons if len(reasons) <= LONGEST_REASONS else f"{reasons[:LONGEST_REASONS]} …"
