"""manifest, params → what Great Expectations finds in it, in tables, words and Data Docs."""

import html
import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.params.validate import Validate
from components.validation.data_docs import TEMPLATES, headline, offline
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
from components.validation.validation_report import Outcome, ValidationReport


@dataclass(frozen=True)
class Validation:
    """The report, the manifest in two parts, and the Data Docs: one HTML page."""

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: str


def validate(manifest: pd.DataFrame, links: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest and part it; nothing is raised for bad data, the report says it.

    links: between copies, as `duplicates.links.find_links` returns them. Single rows are judged
    first. `images_per_class` counts what is left of every class then, and of every class that
    `label_known` lists; where it quarantines, nothing is left of a small one.
    """
    table = measured(manifest, links)
    on_images, findings = _judged("images", "path", table, image_rules(params))
    left = table[reasons(table, findings) == ""]

    known = () if params.label_known.labels == "any" else params.label_known.labels
    before = counted(manifest["label"], known)
    classes = _classes(left, before)
    on_classes, more = _judged("classes", "label", classes, class_rules(params))
    shortcuts = find_shortcuts(manifest)
    on_shortcuts, last = _judged("shortcuts", "label", shortcuts.table, [shortcut_rule(params)])
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
    page = _page([*on_images, *on_classes, *on_shortcuts], report.outcome)
    return Validation(report, accepted, quarantine, page)


def _judged(
    asset: str, key: str, table: pd.DataFrame, rules: Sequence[Rule]
) -> tuple[list[Any], list[Finding]]:
    """Return what Great Expectations shows of a table, and what we make of it, rule by rule.

    key: the column that names a row.
    """
    table = table.reset_index(drop=True)
    results = _results(asset, table, rules)
    shown = [_shown(result, key, table) for each in results for result in each]
    pairs = zip(rules, results, strict=True)
    return shown, [_finding(rule, each, key, table) for rule, each in pairs]


def _results(asset: str, table: pd.DataFrame, rules: Sequence[Rule]) -> list[list[Any]]:
    """Let Great Expectations check a table; return its results for each rule.

    They name failing rows by their number; asked for names, it looks up row by row, which takes
    minutes where a hundred thousand fail.
    """
    import great_expectations as gx
    import great_expectations.expectations as gxe

    suite = gx.ExpectationSuite(
        asset,
        expectations=[
            getattr(gxe, kind)(**arguments, meta={"rule": rule.name}, description=_described(rule))
            for rule in rules
            for kind, arguments in rule.checks
        ],
    )
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


def _described(rule: Rule) -> str:
    """Word a rule for the Data Docs, where markup is not escaped and $ begins a placeholder."""
    words = f"{rule.name}: {rule.words} (on failure: {rule.on_fail})"
    return html.escape(words, quote=False).replace("$", "$$")


def _context() -> Any:
    """Build a context that keeps everything in memory, says nothing and phones nobody."""
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


def _page(results: list[Any], outcome: Outcome) -> str:
    """Render results as Great Expectations renders its Data Docs, on one page that needs no net.

    Its headline knows success and failure alone; here it says what came of the failures. Equal
    results give equal bytes: run times and random ids are left out, not rewritten.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, DictLoader

    view: Any = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([DictLoader(TEMPLATES), view.env.loader])
    view.env.filters["generate_html_element_uuid"] = lambda prefix: prefix
    renderer: Any = ValidationResultsPageRenderer()
    document = renderer.render(_outcome(results))
    overview_header = document.sections[0].content_blocks[0]
    overview_header.subheader.string_template["params"] |= headline(outcome)
    return offline(view.render(document, show_how_to_buttons=False))


def _outcome(results: list[Any]) -> Any:
    """Gather results under one heading."""
    from great_expectations import __version__
    from great_expectations.core import ExpectationSuiteValidationResult

    passed = sum(result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name="manifest",
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


def _shown(result: Any, key: str, table: pd.DataFrame) -> Any:
    """Cut a result to what a page can hold, as text that is safe in it, and name its rows."""
    shown = copy(result)
    shown.result = {name: _plain(value) for name, value in result.result.items()}
    shown.result.pop("unexpected_index_query", None)
    if offenders := shown.result.get("unexpected_index_list"):
        column = result.expectation_config.kwargs["column"]
        named = table.loc[offenders, [column, key]].to_dict("records")
        shown.result["unexpected_index_list"] = _plain(named)
        shown.result["unexpected_index_column_names"] = [key]
    return shown


def _plain(value: Any) -> Any:
    """Turn numpy's scalars into Python's and cut lists; the templates do not escape markup."""
    if isinstance(value, list):
        return [_plain(item) for item in value[:EXAMPLES]]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    value = value.item() if hasattr(value, "item") else value
    return html.escape(value) if isinstance(value, str) else value
