"""Names from outside in Markdown, shown by two programs that people use to read it."""

import html
import re

import mistune
import pytest
from markdown_it import MarkdownIt
from markupsafe import escape

from components.pages.markdown import GAP, spaced_table, table, text
from tests.markdown_names import NASTY

RENDERERS = {
    "markdown-it": MarkdownIt("commonmark").enable(["table", "strikethrough"]).render,
    # With its own escaping, which is no part of CommonMark, it would show references as they are.
    "mistune": mistune.create_markdown(escape=False, plugins=["url", "table", "strikethrough"]),
}
# Showdown, which MLflow's page uses, also knows these.
SHOWDOWN = re.compile(r"(^|\s)@\w|:\w+:|(?i:https?://|www\.)|[<>|`*~\[\]!]|(?<!\w)_|_(?!\w)")


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_shown_as_it_is_by_every_renderer_of_markdown(name: str, renderer: str) -> None:
    shown = str(RENDERERS[renderer](f"- {text(name, None)}\n")).replace("\n", "")
    found = re.fullmatch(r"<ul><li>(.*)</li></ul>", shown)
    assert found is not None
    assert "<" not in found[1]
    assert html.unescape(found[1]) == name
    assert SHOWDOWN.search(text(name)) is None


def test_a_name_in_a_table_is_one_cell() -> None:
    shown = str(RENDERERS["mistune"](table(["class"], [[text("a|b\n<b>")]])))
    assert str(escape("a|b\\n<b>")) in shown.replace("&#39;", "'")
    assert shown.count("<td") == 1


def test_space_is_between_two_columns_and_not_after_the_last() -> None:
    found = spaced_table(["class", "recall"], [["glass", "0.9"]])
    assert found == f"| class{GAP} | recall |\n|---|---|\n| glass{GAP} | 0.9 |"


def test_what_reverses_text_is_written_as_an_escape_and_hebrew_as_it_is() -> None:
    assert text("a\u202eb") == "a&#92;u202eb"
    assert text("שלום") == "שלום"


def test_a_long_name_keeps_its_start_and_end() -> None:
    shown = text("a" * 100 + "b" * 100, 21)
    assert shown == "a" * 10 + "…" + "b" * 10
    assert text("a" * 500, None) == "a" * 500
