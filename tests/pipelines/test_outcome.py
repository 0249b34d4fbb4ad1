"""metrics.json, verdict.json, what ran → the rows of the flow's table, and its text."""

import html
from pathlib import Path

import mistune
import pytest
from markdown_it import MarkdownIt

from pipelines.outcome import Done, links, metric_rows, outcome_markdown, plain
from tests.markdown_names import NASTY

VERDICT = {"decision": "promote", "reasons": ["no champion"], "version": 1, "name": "digits"}


def test_every_number_has_a_row_and_its_interval_if_it_has_one() -> None:
    metrics = {
        "accuracy": 0.9,
        "images": 4,
        "macro_roc_auc": None,
        "intervals": {"accuracy": [0.8, None]},
    }
    rows = [(row["metric"], row["value"], row["interval"]) for row in metric_rows(metrics)]
    assert rows == [
        ("accuracy", "0.9000", "0.8000 – –"),
        ("images", "4", ""),
        ("macro_roc_auc", "–", ""),
    ]


def test_a_verdict_is_the_headline_only_of_the_run_that_registered_the_version() -> None:
    registered = outcome_markdown(Done(("train", "register"), ("ingest",)), VERDICT, ["link"])
    assert registered == (
        "# promote\n\nVersion 1 of digits.\n\n- no champion\n\n2 of 3 stages ran: train, register."
        "\n\nUnchanged: ingest.\n\nlink"
    )
    earlier = "This run registered no version. Version 1 of digits is from an earlier run, with the"
    for ran, headline in {
        (): "# No stage ran, because nothing has changed",
        ("ingest",): "# 1 of 3 stages ran: ingest",
    }.items():
        unchanged = tuple(name for name in ("ingest", "train", "register") if name not in ran)
        text = outcome_markdown(Done(ran, unchanged), VERDICT, [])
        assert text.splitlines()[0] == headline
        assert text.endswith(f"\n\n{earlier} verdict: promote.")
    assert "version" not in outcome_markdown(Done(("ingest",), ()), None, [])


def test_a_version_is_named_with_its_store_and_a_missing_version_with_what_to_do() -> None:
    verdict = {**VERDICT, "store": "sqlite:///mlflow.db"}
    text = outcome_markdown(Done(("register",), ()), verdict, [])
    assert "\n\nVersion 1 of digits at `sqlite:///mlflow.db`.\n\n" in text
    text = outcome_markdown(Done((), ("register",)), {**verdict, "version": None}, [])
    assert text.endswith("model of this workspace; `fovea register` registers it.")
    assert "None" not in text


def test_links_lead_to_mlflow_if_it_has_a_page_and_are_words_otherwise() -> None:
    page, report = "#/experiments/1/runs/abc", Path("data/evaluate/report.html")
    assert links("http://10.0.0.1:5000/", page, report) == (
        "[Report](http://10.0.0.1:5000/#/experiments/1/runs/abc/artifacts/2-test-report/report.html)",
        "[MLflow run](http://10.0.0.1:5000/#/experiments/1/runs/abc)",
    )
    text = " ".join(links("sqlite:///mlflow.db", page, report))
    assert "`fovea ui` serves" in text
    assert str(report) in text
    assert "](" not in text
    assert "file:" not in text


RENDERERS = {
    "markdown-it": MarkdownIt("commonmark").enable(["table", "strikethrough"]).render,
    "mistune": mistune.create_markdown(plugins=["url", "table", "strikethrough"]),
}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_shown_as_it_is_by_every_renderer_of_markdown(name: str, renderer: str) -> None:
    shown = str(RENDERERS[renderer](plain(name)))
    expected = html.escape(name, quote=False).replace('"', "&quot;")
    assert shown == f"<p>{expected}</p>\n"
    in_list = str(RENDERERS[renderer](f"- {plain(name)}\n"))
    assert in_list.replace("\n", "") == f"<ul><li>{expected}</li></ul>"


def test_a_name_with_line_breaks_stays_on_its_line() -> None:
    assert plain("cat\n\n# promote") == "cat\\\\n\\\\n\\# promote"


def test_names_of_classes_and_models_are_no_markup() -> None:
    verdict = {**VERDICT, "reasons": ["recall of <b>|[x](y) fell"], "name": "*digits*"}
    for ran in (("register",), ()):
        text = outcome_markdown(Done(ran, ()), verdict, [])
        assert "\\*digits\\*" in text
    assert "- recall of \\<b\\>\\|\\[x\\](y) fell" in outcome_markdown(
        Done(("register",), ()), verdict, []
    )
