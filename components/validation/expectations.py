"""manifest, params → what Great Expectations finds in it, in tables, words and Data Docs."""

import html
import math
import re
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.params.validate import Validate
from components.validation.overview import copies, overview
from components.validation.quality import (
    EXAMPLES,
    Example,
    Finding,
    alike,
    counted,
    measured,
    parted,
    reasons,
    spellings,
)
from components.validation.rules import SHARES, Rule, class_rules, image_rules, shortcut_rule
from components.validation.shortcuts import find_shortcuts
from components.validation.validation_report import ValidationReport

SUITE = "manifest"
NOTES = [
    "[The data report](../../report.html) shows these results with the pictures.",
    "Bounds, and what happens on failure, are set in `params.yaml`, section `validate`.",
]
RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Validation:
    """The report, the manifest in two parts, and the Data Docs: path → HTML page."""

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: dict[str, str]


def validate(manifest: pd.DataFrame, links: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest and part it; nothing is raised for bad data, the report says it.

    links: between copies, as `duplicates.links.find_links` returns them. Single rows are judged
    first. `images_per_class` counts what is left of every class then, and of every class that
    `label_known` lists; where it quarantines, nothing is left of a small one.
    """
    table = measured(manifest, links)
    of_images, of_classes = image_rules(params), class_rules(params)
    of_shortcuts = [shortcut_rule(params)]
    on_images, findings = _check("images", "path", table, of_images)
    left = table[reasons(table, findings) == ""]

    known = () if params.label_known.labels == "any" else params.label_known.labels
    before = counted(manifest["label"], known)
    classes = _classes(left, before)
    on_classes, more = _check("classes", "label", classes, of_classes)
    shortcuts = find_shortcuts(manifest)
    on_shortcuts, last = _check("shortcuts", "label", shortcuts.table, of_shortcuts)
    findings += more + last

    reason = reasons(table, findings)
    accepted, quarantine = parted(manifest, reason)
    report = ValidationReport(
        findings=tuple(findings),
        before=before,
        after=counted(accepted["label"], before),
        reasons=counted(quarantine["reason"]),
        slips=alike(classes["label"]),
        shortcuts=shortcuts,
        figures=overview(manifest),
        copies=copies(table, links),
    )
    docs = _docs([*of_images, *of_classes, *of_shortcuts], [*on_images, *on_classes, *on_shortcuts])
    return Validation(report, accepted, quarantine, docs)


def _check(
    asset: str, key: str, table: pd.DataFrame, rules: Sequence[Rule]
) -> tuple[list[Any], list[Finding]]:
    """Return the results of Great Expectations on a table, cut for its docs, and our findings.

    key: the column that names a row.
    """
    table = table.reset_index(drop=True)
    results = _results(asset, table, rules)
    for_docs = [_cut(result, key, table) for rule_results in results for result in rule_results]
    pairs = zip(rules, results, strict=True)
    return for_docs, [_finding(rule, of_rule, key, table) for rule, of_rule in pairs]


def _results(asset: str, table: pd.DataFrame, rules: Sequence[Rule]) -> list[list[Any]]:
    """Let Great Expectations check a table; return its results for each rule.

    They name failing rows by their number; asked for names, it looks up row by row, which takes
    minutes where a hundred thousand fail.
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
        if result.exception_info.get("raised_exception", True):  # else one entry per metric
            raise RuntimeError(f"{result.expectation_config}: {result.exception_info}")
        results[result.expectation_config.meta["rule"]].append(result)
    return list(results.values())


def _expectations(rules: Iterable[Rule]) -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        getattr(gxe, kind)(**arguments, meta={"rule": rule.name}, description=_description(rule))
        for rule in rules
        for kind, arguments in rule.checks
    ]


def _description(rule: Rule) -> str:
    """Word a rule for the Data Docs, whose page does not escape its markup."""
    words = f"{rule.name}: {rule.words} (on failure: {rule.on_fail})"
    return html.escape(words, quote=False)


def _context() -> Any:
    """Build a context that keeps everything in memory, prints nothing and sends nothing."""
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


def _finding(rule: Rule, results: Iterable[Any], key: str, table: pd.DataFrame) -> Finding:
    results = list(results)
    column = rule.checks[0][1]["column"]
    if column in SHARES:
        offenders = table[table[column] > 0]
        observed = f"{results[0].result['observed_value']:.1%} do"
    else:
        failing = {row for each in results for row in each.result["unexpected_index_list"] or ()}
        offenders = table.loc[sorted(failing)]
        kind = "classes" if key == "label" else "files"
        observed = f"{len(offenders)} of {len(table)} {kind} fail"
    return Finding(
        name=rule.name,
        rule=rule.words,
        on_fail=rule.on_fail,
        passed=all(result.success for result in results),
        observed=observed,
        offenders=tuple(offenders[key]),
        examples=_examples(rule, offenders, key),
    )


def _examples(rule: Rule, offenders: pd.DataFrame, key: str) -> tuple[Example, ...]:
    """Return the first offenders, or those furthest outside where a rule bounds a measure."""
    (_, arguments), *others = rule.checks
    values = offenders[arguments["column"]]
    bounded = {"min_value", "max_value"} & arguments.keys() and values.dtype == float
    if others or not bounded or arguments["column"] in SHARES:
        return tuple((name, None) for name in offenders[key].head(EXAMPLES))
    below = arguments.get("min_value", -math.inf) - values
    above = values - arguments.get("max_value", math.inf)
    worst = np.maximum(below, above).sort_values(ascending=False, kind="stable").index[:EXAMPLES]
    return tuple(zip(offenders.loc[worst, key], values[worst].tolist(), strict=True))


def _classes(left: pd.DataFrame, before: Iterable[str]) -> pd.DataFrame:
    """Return label, images left, and spellings for every label that is not blank."""
    counts = pd.DataFrame(counted(left["label"], before).items(), columns=["label", "images"])
    counts = counts[counts["label"].str.strip() != ""]
    return counts.assign(spellings=spellings(counts["label"]))


def _docs(rules: Sequence[Rule], results: list[Any]) -> dict[str, str]:
    """Return path → page of the Data Docs: the results, and the suite with its notes.

    Great Expectations draws both. It gives elements random ids and writes the time into the address
    of its logo; both are replaced in the finished page, so that equal results give equal bytes. Its
    links begin in the folder of one run among others; here the results are the index.
    """
    import great_expectations as gx
    from great_expectations.render.renderer.page_renderer import (
        ExpectationSuitePageRenderer,
        ValidationResultsPageRenderer,
    )
    from great_expectations.render.view.view import DefaultJinjaPageView

    suite = gx.ExpectationSuite(SUITE, expectations=_expectations(rules), notes=NOTES)
    results_renderer: Any = ValidationResultsPageRenderer()
    suite_renderer: Any = ExpectationSuitePageRenderer()
    documents = {
        "index.html": results_renderer.render(_suite_result(results)),
        f"expectations/{SUITE}.html": suite_renderer.render(suite),
    }
    view: Any = DefaultJinjaPageView()
    pages = {
        path: _without_chance(view.render(document, show_how_to_buttons=False))
        for path, document in documents.items()
    }
    pages["index.html"] = re.sub(r'"(?:\.\./)+', '"', pages["index.html"])
    return pages


def _without_chance(page: str) -> str:
    """Number random ids in the order in which they occur, and remove the time from addresses."""
    numbers: dict[str, str] = {}
    page = RANDOM_ID.sub(lambda match: numbers.setdefault(match[0], str(len(numbers))), page)
    return re.sub(r"\?d=\d{8}T[\d.]+Z", "", page)


def _suite_result(results: list[Any]) -> Any:
    """Gather the results of all tables under one heading."""
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
    """Cut a result to what a page can hold, name its rows, and make its text safe in a page."""
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
    """Turn numpy's scalars into Python's and cut lists; the templates do not escape markup."""
    if isinstance(value, list):
        return [_plain(item) for item in value[:EXAMPLES]]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    value = value.item() if hasattr(value, "item") else value
    return html.escape(value) if isinstance(value, str) else value
