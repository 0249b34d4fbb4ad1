"""What Fovea writes into a description in MLflow ⇄ the whole description, which people write, too.

Fovea's text begins with the line that ends with the comment BEGIN, and ends with the comment END.
MLflow's page does not show comments of HTML. What is before and after belongs to people, and is
never changed. The first line is no comment, because MLflow's list of versions shows how a
description begins. A third comment separates the status, such as
`champion`, from the facts, such as the figures. So the status can be written again without the
facts, which are in a file of an MLflow run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from components.evaluation.comparison import Comparison
from components.evaluation.slices import Slice
from components.pages.markdown import SPACE, spaced_table, text
from components.review.facts import Judged, ModelFacts, worst_first
from components.review.figures import (
    ALL_TESTED,
    LONGEST_SLICE,
    NO_WEAK_SLICE,
    images_text,
    interval_text,
    p_text,
    slice_text,
)
from components.review.lineage import lineage_lines
from components.words import count_text, number_text

# MLflow's column for a description has 5,000 characters. Only sqlite would store more.
LONGEST = 5_000
# The facts leave room for the status.
LONGEST_FACTS = 3_400
LEAST = 300  # With less room beside what people wrote, Fovea writes nothing.
BEGIN = "<!-- Fovea writes from this line on; write above it -->"
FACTS = "<!-- facts -->"
END = "<!-- Fovea writes up to this line; write below it -->"
FRAME = len("\n".join([f" {BEGIN}", "", FACTS, "", END]))
INSIDE = f"(?:(?!{re.escape(BEGIN)}).)*?"
BLOCK = re.compile(
    rf"^(?P<first>[^\n]*) {re.escape(BEGIN)}\n(?P<rest>{INSIDE})\n{re.escape(FACTS)}\n"
    rf"(?P<facts>{INSIDE})\n{re.escape(END)}",
    re.DOTALL | re.MULTILINE,  # without ^, a long line takes seconds
)
AFTER_TABLE = f"{SPACE}\n"  # a table on MLflow's page has no margin
WEAKEST = 5  # classes
WEAKEST_SLICES = 3
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
    status = f"{found['first']}\n{found['rest']}".rstrip("\n")
    return Description(before, status, found["facts"], after)


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
    first, _, rest = status.partition("\n")
    block = "\n".join([f"{first} {BEGIN}", rest, FACTS, facts, END])
    return f"{before}{block}{parts.after}"


def room_for_facts(whole: str, status: str) -> int:
    """Return how many characters `write_description` has for the facts, below 0 if none."""
    parts = read_description(whole)
    return LONGEST - len(parts.before) - len(parts.after) - FRAME - len(status) - 2


def verdict_facts(judged: Judged, links: Mapping[str, str]) -> str:
    """Return the verdict, the figures, the weakest classes and slices, the lineage, as Markdown.

    links: title → address of each page that a reviewer may open. The result has at most
    LONGEST_FACTS characters; what finds no room is left out, and the text says so.
    """
    compared = None if judged.is_champion else judged.champion
    first, *others = _reasons(judged.verdict.decision, judged.verdict.reasons)
    pages = " · ".join(f"[{title}]({address})" for title, address in links.items())
    figures = [*_figures(judged), *_slices(judged.slices)]
    lineage = list(_lineage(judged.model, compared))
    return _fit([first], others, [pages], figures, lineage, last=1)


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
        table = spaced_table(["metric", *columns], rows)
        yield _section("Figures", f", with {confidence}, on {images_text(judged)}", table)
    classes = worst_first(judged.verdict.comparison)
    if classes:
        order = "the largest fall first" if champion else "the lowest first"
        if len(classes) > WEAKEST:
            order += f"; {len(classes) - WEAKEST} with better results left out"
        rows = [
            [text(row.class_name or ""), *_cells(row, bool(champion))] for row in classes[:WEAKEST]
        ]
        table = spaced_table(["class", *columns], rows)
        yield _section("Recall of classes", f", {order}", table)


def _slices(slices: Sequence[Slice] | None) -> Iterator[str]:
    if slices is None:
        return
    if not slices:
        yield _section("Weak slices", "", f"{NO_WEAK_SLICE} {ALL_TESTED}")
        return
    rows = [
        [
            text(slice_text(found), LONGEST_SLICE),
            interval_text(found.accuracy),
            number_text(found.images),
            text(p_text(found.p_value)),
        ]
        for found in slices[:WEAKEST_SLICES]
    ]
    table = spaced_table(["slice", "accuracy", "images", "p"], rows)
    hidden = len(slices) - len(rows)
    more = f"{count_text(hidden, 'more slice is', 'more slices are')} weak. " if hidden > 0 else ""
    yield _section("Weak slices", ", the weakest first", f"{table}\n\n{more}{ALL_TESTED}")


def _cells(row: Comparison, compared: bool) -> list[str]:
    others = [interval_text(row.champion), interval_text(row.difference, signed=True)]
    return [interval_text(row.challenger), *(others if compared else [])]


def _section(title: str, more: str, below: str) -> str:
    """Return a part with a title. On MLflow's page, headings of Markdown would not be bold."""
    return f"**{title}**{more}\n\n{below}"


def _lineage(model: ModelFacts, champion: ModelFacts | None) -> Iterator[str]:
    for number, line in enumerate(lineage_lines(model, champion)):
        said = "; ".join([line.text, *line.items])
        item = f"- {line.term}: {text(said, LONGEST_REASON)}"
        yield item if number else _section("What it was made from", "", item)


def _fit(*groups: Sequence[str], last: int = -1) -> str:
    """Put the parts of all groups together, except those that find no room.

    last: the group whose parts get only the room that the other groups leave.
    """
    parts = [(group == last, part) for group, found in enumerate(groups) for part in found if part]
    kept: list[int] = []
    for place in sorted(range(len(parts)), key=lambda place: parts[place][0]):
        tried = sorted([*kept, place])
        if len(_joined([*(parts[index][1] for index in tried), REST])) <= LONGEST_FACTS:
            kept = tried
    rest = [] if len(kept) == len(parts) else [REST]
    return _joined([*(parts[index][1] for index in kept), *rest])


def _joined(parts: Sequence[str]) -> str:
    """Join parts with an empty line, but the items of a list without one."""
    lines = [parts[0]]
    for before, part in pairwise(parts):
        in_list = before.rpartition("\n")[2].startswith("- ") and part.startswith("- ")
        space = AFTER_TABLE if before.endswith("|") else ""
        lines.append(f"\n{part}" if in_list else f"\n\n{space}{part}")
    return "".join(lines)


def _clip(written: str, room: int) -> str:
    """Cut a text after a paragraph, so that it has at most `room` characters."""
    while len(written) > room:
        paragraphs = written.removesuffix("\n\n…").split("\n\n")
        if len(paragraphs) == 1:
            return ""
        paragraphs.pop()
        while len(paragraphs) > 1 and paragraphs[-1].startswith(("**", SPACE)):  # title of nothing
            paragraphs.pop()
        written = "\n\n".join([*paragraphs, "…"])
    return written
