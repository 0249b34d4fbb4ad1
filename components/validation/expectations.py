"""A table and rules → findings for the report, and the Data Docs (HTML pages).

A rule is an expectation of params.yaml, in words and as checks. A finding says whether the table
meets the expectation. The library Great Expectations makes the checks and draws the Data Docs.
"""

import html
import re
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.validation.findings import EXAMPLES, Finding, build_finding
from components.validation.rules import Rule

SUITE = "manifest"
NOTES = [
    "[The data report](../../report.html) shows these results with the pictures.",
    "The section `validate` of `params.yaml` sets the bounds, and what happens on failure.",
]
RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class CheckedTable:
    """The rules for one table, and the results of checking the table.

    findings: one finding for each rule, in the order of the rules. results: the results of Great
    Expectations, prepared for the Data Docs. A result lists at most EXAMPLES failing rows.
    """

    rules: Sequence[Rule]
    findings: tuple[Finding, ...]
    results: Sequence[Any]


def check_table(asset: str, key: str, table: pd.DataFrame, rules: Sequence[Rule]) -> CheckedTable:
    """Check a table with Great Expectations.

    asset: the name of the table. key: the name of the column that identifies a row in the report,
    such as `path`. table: the table. rules: the rules for the table. Raises RuntimeError if Great
    Expectations cannot compute a result.
    """
    table = table.reset_index(drop=True)
    results = _results(asset, table, rules)
    return CheckedTable(
        rules,
        tuple(build_finding(rule, results[rule.name], key, table) for rule in rules),
        [_cut(result, key, table) for rule in rules for result in results[rule.name]],
    )


def data_docs(tables: Sequence[CheckedTable]) -> dict[str, str]:
    """Return path → HTML for two pages: the results, and the list of expectations.

    Great Expectations draws the pages. It gives random ids to HTML elements, and it writes the time
    into the address of its logo. This function replaces the ids and removes the time, so that equal
    results give equal bytes.

    Great Expectations expects the page of results in a subfolder, so the links on this page start
    with `../`. Fovea writes this page as index.html in the top folder of the Data Docs. So this
    function removes `../` from the links of the page.
    """
    import great_expectations as gx
    from great_expectations.render.renderer.page_renderer import (
        ExpectationSuitePageRenderer,
        ValidationResultsPageRenderer,
    )
    from great_expectations.render.view.view import DefaultJinjaPageView

    expectations = [check for table in tables for check in _expectations(table.rules)]
    suite = gx.ExpectationSuite(SUITE, expectations=expectations, notes=NOTES)
    result = _suite_result([result for table in tables for result in table.results])
    results_renderer: Any = ValidationResultsPageRenderer()
    suite_renderer: Any = ExpectationSuitePageRenderer()
    documents = {
        "index.html": results_renderer.render(result),
        f"expectations/{SUITE}.html": suite_renderer.render(suite),
    }
    view: Any = DefaultJinjaPageView()
    pages = {
        path: _without_chance(view.render(document, show_how_to_buttons=False))
        for path, document in documents.items()
    }
    pages["index.html"] = re.sub(r'"(?:\.\./)+', '"', pages["index.html"])
    return pages


def _results(asset: str, table: pd.DataFrame, rules: Sequence[Rule]) -> dict[str, list[Any]]:
    """Return name of a rule → the results of Great Expectations for the checks of the rule.

    A result gives the index of each failing row in the table. Great Expectations can also give
    another column of these rows, such as the path. But then it searches for one row at a time,
    which takes minutes if 100,000 rows fail. Raises RuntimeError if Great Expectations cannot
    compute a result.
    """
    import great_expectations as gx

    suite = gx.ExpectationSuite(asset, expectations=_expectations(rules))
    columns = {arguments["column"] for rule in rules for _, arguments in rule.checks}
    frames = _context().data_sources.add_pandas("fovea").add_dataframe_asset(asset)
    batch = frames.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": table[sorted(columns)]}
    )
    outcome = batch.validate(suite, result_format="COMPLETE")
    results: dict[str, list[Any]] = {rule.name: [] for rule in rules}
    for result in outcome.results:
        # If Great Expectations could not compute a number that the result needs, `exception_info`
        # has no key `raised_exception`, and describes the error under other keys.
        if result.exception_info.get("raised_exception", True):
            raise RuntimeError(
                "Great Expectations could not check a rule. Received: "
                f"{result.expectation_config}: {result.exception_info}"
            )
        results[result.expectation_config.meta["rule"]].append(result)
    return results


def _expectations(rules: Iterable[Rule]) -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        getattr(gxe, kind)(**arguments, meta={"rule": rule.name}, description=_description(rule))
        for rule in rules
        for kind, arguments in rule.checks
    ]


def _description(rule: Rule) -> str:
    """Describe a rule for the Data Docs.

    The text is escaped for HTML here, because the templates of Great Expectations escape nothing.
    """
    words = f"{rule.name}: {rule.words} (on failure: {rule.on_fail})"
    return html.escape(words, quote=False)


def _context() -> Any:
    """Return a context of Great Expectations: only in memory, no progress bars, no analytics.

    Analytics would send data about the use of Great Expectations to its authors.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _without_chance(page: str) -> str:
    """Replace the random ids of a page by numbers, and remove the time from all addresses.

    The first id on the page becomes 0, the next different id becomes 1, and so on.
    """
    numbers: dict[str, str] = {}
    page = RANDOM_ID.sub(lambda match: numbers.setdefault(match[0], str(len(numbers))), page)
    return re.sub(r"\?d=\d{8}T[\d.]+Z", "", page)


def _suite_result(results: list[Any]) -> Any:
    """Combine the results of all tables into one object, so that one page shows all results."""
    from great_expectations import __version__
    from great_expectations.core import ExpectationSuiteValidationResult

    passed = sum(result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=SUITE,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={
            "great_expectations_version": __version__,
            "batch_spec": {"data_asset_name": "images"},
        },
    )


def _cut(result: Any, key: str, table: pd.DataFrame) -> Any:
    """Return a copy of a result, prepared for the Data Docs.

    The copy lists at most EXAMPLES failing rows. Each of these rows is identified by its value in
    the column `key`. All text is escaped for HTML.
    """
    result = copy(result)
    result.result = {name: _plain(value) for name, value in result.result.items()}
    result.result.pop("unexpected_index_query", None)
    if offenders := result.result.get("unexpected_index_list"):
        column = result.expectation_config.kwargs["column"]
        rows = table.loc[offenders, [column, key]].to_dict("records")
        result.result["unexpected_index_list"] = _plain(rows)
        result.result["unexpected_index_column_names"] = [key]
    return result


def _plain(value: Any) -> Any:
    """Turn numpy scalars into Python scalars, cut lists to EXAMPLES items, and escape text.

    Text is escaped for HTML here, because the templates of Great Expectations escape nothing.
    """
    if isinstance(value, list):
        return [_plain(item) for item in value[:EXAMPLES]]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    value = value.item() if hasattr(value, "item") else value
    return html.escape(value) if isinstance(value, str) else value
