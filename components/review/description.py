"""What Fovea writes into a description in MLflow ⇄ the whole description, which people write, too.

Fovea's text is between two comments of HTML, which MLflow's page does not show. What is before and
after them belongs to people, and is never changed. A third comment separates the status, such as
`champion`, from the facts, such as the figures. So the status can be written again without the
facts, which are in a file of an MLflow run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from components.evaluation.comparison import Comparison
from components.pages.markdown import table, text
from components.review.facts import Judged, ModelFacts, worst_first
from components.review.figures import interval_text
from components.review.lineage import lineage_lines

# MLflow's column for a description has 5,000 characters. Only sqlite would store more.
LONGEST = 5_000
# The facts leave room for the status.
LONGEST_FACTS = 3_400
LEAST = 300  # With less room beside what people wrote, Fovea writes nothing.
BEGIN = "<!-- Fovea writes from here; write above this line -->"
FACTS = "<!-- facts -->"
END = "<!-- Fovea writes up to here; write below this line -->"
FRAME = len("\n".join([BEGIN, "", FACTS, "", END]))
BLOCK = re.compile(
    rf"{re.escape(BEGIN)}\n(?P<status>(?:(?!{re.escape(BEGIN)}).)*?)\n{re.escape(FACTS)}\n"
    rf"(?P<facts>(?:(?!{re.escape(BEGIN)}).)*?)\n{re.escape(END)}",
    re.DOTALL,
)
WEAKEST = 5  # classes
LONGEST_REASON = 300  # characters
REST = "The rest is in the register report."


@dataclass(frozen=True)
class Description:
    """A description in MLflow. before, after: what people wrote. status, facts: Fovea's parts."""

    before: str
    status: str
    facts: str
    after: str

    @property
    def has_block(self) -> bool:
        """Return True if Fovea has written into the description."""
        return bool(self.status or self.facts)


def read_description(whole: str) -> Description:
    """Take a description apart. Without both comments, all of it belongs to people."""
    found = BLOCK.search(whole)
    if found is None:
        return Description(whole, "", "", "")
    before, after = whole[: found.start()], whole[found.end() :]
    return Description(before, found["status"], found["facts"], after)


def write_description(whole: str, status: str, facts: str) -> str:
    """Return a description with Fovea's parts replaced, or added after what people wrote.

    It has at most LONGEST characters. If people left too little room, what they wrote is returned,
    without a part of Fovea.
    """
    parts = read_description(whole)
    before = parts.before
    if before and not parts.has_block:
        before = f"{before.rstrip()}\n\n"
    room = LONGEST - len(before) - len(parts.after) - FRAME
    if room < LEAST:
        return f"{parts.before}{parts.after}" if parts.has_block else whole
    status = _clip(status, room)
    facts = _clip(facts, room - len(status))
    block = "\n".join([BEGIN, status, FACTS, facts, END])
    return f"{before}{block}{parts.after}"


def room_for_facts(whole: str, status: str) -> int:
    """Return how many characters `write_description` has for the facts, below 0 if none."""
    parts = read_description(whole)
    return LONGEST - len(parts.before) - len(parts.after) - FRAME - len(status) - 2


def verdict_facts(judged: Judged, links: Mapping[str, str]) -> str:
    """Return the verdict, the figures, the weakest classes and the lineage, as Markdown.

    links: title → address of each page that a reviewer may open. The result has at most
    LONGEST_FACTS characters; what finds no room is left out, and the text says so.
    """
    compared = None if judged.is_champion else judged.champion
    first, *others = _reasons(judged.verdict.decision, judged.verdict.reasons)
    pages = " · ".join(f"[{title}]({address})" for title, address in links.items())
    figures, lineage = list(_figures(judged)), list(_lineage(judged.model, compared))
    return _fit([first], others, figures, [pages], lineage, last=1)


def tag_facts(model: ModelFacts) -> str:
    """Return what the tags of a version say, as Markdown, if its verdict is not at hand."""
    decision, reasons = model.tags.get("verdict"), model.tags.get("reasons", "")
    said = (
        list(_reasons(decision, [reasons]))
        if decision
        else ["It was registered without a verdict."]
    )
    return _fit(said, list(_lineage(model, None)))


def _reasons(decision: str, reasons: Sequence[str]) -> Iterator[str]:
    first, *others = (text(reason, LONGEST_REASON) for reason in reasons)
    yield f"**Verdict: {text(decision)}**: {first}"
    for other in others:
        yield f"- {other}"


def _figures(judged: Judged) -> Iterator[str]:
    champion = judged.champion if judged.compared else None
    columns = [f"version {judged.model.version}"]
    if champion:
        columns += [f"champion, version {champion.version}", "difference"]
    confidence = f"{100 * judged.verdict.confidence:g} % intervals"
    if judged.overall:
        rows = [[row.title, *_cells(row, bool(champion))] for row in judged.overall]
        images = f"{judged.verdict.images} test images, {confidence}"
        yield table([images, *columns], rows)
    if classes := worst_first(judged.verdict.comparison)[:WEAKEST]:
        title = "recall, the largest fall first" if champion else "recall, the lowest first"
        rows = [[text(row.class_name or ""), *_cells(row, bool(champion))] for row in classes]
        yield table([title, *columns], rows)


def _cells(row: Comparison, compared: bool) -> list[str]:
    others = [interval_text(row.champion), interval_text(row.difference, signed=True)]
    return [interval_text(row.challenger), *(others if compared else [])]


def _lineage(model: ModelFacts, champion: ModelFacts | None) -> Iterator[str]:
    for line in lineage_lines(model, champion):
        said = "; ".join([line.text, *line.items])
        yield f"- {line.term}: {text(said, LONGEST_REASON)}"


def _fit(*groups: Sequence[str], last: int = -1) -> str:
    """Put the parts of all groups together, except those that find no room.

    last: the group whose parts get only the room that the other groups leave.
    """
    parts = [(group == last, part) for group, found in enumerate(groups) for part in found if part]
    room = LONGEST_FACTS - len(REST) - 2
    kept = set()
    for place in sorted(range(len(parts)), key=lambda place: parts[place][0]):
        if len(parts[place][1]) + 2 <= room:
            kept.add(place)
            room -= len(parts[place][1]) + 2
    rest = [] if len(kept) == len(parts) else [REST]
    return _joined([*(parts[place][1] for place in sorted(kept)), *rest])


def _joined(parts: Sequence[str]) -> str:
    """Join parts with an empty line, but the items of a list without one."""
    lines = [parts[0]]
    for before, part in pairwise(parts):
        in_list = before.startswith("- ") and part.startswith("- ")
        lines.append(f"\n{part}" if in_list else f"\n\n{part}")
    return "".join(lines)


def _clip(written: str, room: int) -> str:
    """Cut a text after a paragraph, so that it has at most `room` characters."""
    while len(written) > room:
        paragraphs = written.removesuffix("\n\n…").split("\n\n")
        if len(paragraphs) == 1:
            return ""
        written = "\n\n".join([*paragraphs[:-1], "…"])
    return written
