"""manifest, params → what Great Expectations finds in it, in tables, words and Data Docs."""

import html
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.data.data_docs import TEMPLATES, offline
from components.data.quality import (
    EXAMPLES,
    Finding,
    ValidationReport,
    class_counts,
    conflicts,
    measured,
    parted,
)
from components.data.rules import SHARES, Rule, class_rule, image_rules
from components.params import Validate


@dataclass(frozen=True)
class Validation:
    """The report, the manifest in two parts, and the Data Docs: one HTML page."""

    report: ValidationReport
    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    docs: str


def validate(manifest: pd.DataFrame, params: Validate) -> Validation:
    """Check a manifest and part it; nothing is raised for bad data, the report says it.

    Single rows are judged first. `images_per_class` counts what is left of every class then, and
    of every class that `label_known` lists; where it quarantines, nothing is left of a small one.
    """
    table = measured(manifest)
    rules = image_rules(params)
    results = _results("images", "path", table, rules)
    findings = [_finding(rule, results[rule.name], table) for rule in rules]
    left, _ = parted(manifest, findings)

    known = () if params.label_known.labels == "any" else params.label_known.labels
    before = class_counts(manifest, known)
    counts = pd.DataFrame(class_counts(left, before).items(), columns=["label", "images"])
    counts = counts[counts["label"].str.strip() != ""]
    last = class_rule(params)
    results |= _results("classes", "label", counts, [last])
    findings.append(_finding(last, results[last.name], counts))

    accepted, quarantine = parted(manifest, findings)
    reasons = quarantine["reason"].value_counts().sort_index()
    report = ValidationReport(
        findings=tuple(findings),
        before=before,
        after=class_counts(accepted, before),
        reasons={str(reason): int(count) for reason, count in reasons.items()},
        conflicts=conflicts(manifest),
    )
    return Validation(report, accepted, quarantine, _page(results))


def _results(
    asset: str, key: str, table: pd.DataFrame, rules: Sequence[Rule]
) -> dict[str, list[Any]]:
    """Let Great Expectations check a table; return its results by the name of our rule.

    key: the column that names a row in the results.
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
    frames = _context().data_sources.add_pandas("fovea").add_dataframe_asset(asset)
    batch = frames.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    outcome = batch.validate(
        suite,
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
    )
    results: dict[str, list[Any]] = {rule.name: [] for rule in rules}
    for result in outcome.results:
        if result.exception_info.get("raised_exception", True):  # else one entry per metric
            raise RuntimeError(f"{result.expectation_config}: {result.exception_info}")
        results[result.expectation_config.meta["rule"]].append(result)
    return results


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


def _finding(rule: Rule, results: Iterable[Any], table: pd.DataFrame) -> Finding:
    results = list(results)
    column = rule.checks[0][1]["column"]
    if column in SHARES:
        offenders = table.loc[table[column] > 0, "path"]
        observed = f"{results[0].result['observed_value']:.1%} do"
    else:
        key = "label" if "images" in table else "path"
        failing = {
            item[key] for result in results for item in result.result["unexpected_index_list"] or ()
        }
        offenders = table.loc[table[key].isin(failing), key]
        observed = (
            f"{len(offenders)} of {len(table)} {'classes' if key == 'label' else 'files'} fail"
        )
    return Finding(
        name=rule.name,
        rule=rule.words,
        on_fail=rule.on_fail,
        passed=all(result.success for result in results),
        observed=observed,
        offenders=tuple(offenders),
    )


def _page(results: dict[str, list[Any]]) -> str:
    """Render results as Great Expectations renders its Data Docs, on one page that needs no net.

    Equal results give equal bytes: run times and random ids are left out, not rewritten.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, DictLoader

    view: Any = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([DictLoader(TEMPLATES), view.env.loader])
    view.env.filters["generate_html_element_uuid"] = lambda prefix: prefix
    renderer: Any = ValidationResultsPageRenderer()
    document = renderer.render(_outcome(results))
    return offline(view.render(document, show_how_to_buttons=False))


def _outcome(results: dict[str, list[Any]]) -> Any:
    """Gather results under one heading, with the few offenders that a page can show."""
    from great_expectations import __version__
    from great_expectations.core import ExpectationSuiteValidationResult

    every = [_shown(result) for group in results.values() for result in group]
    passed = sum(result.success for result in every)
    return ExpectationSuiteValidationResult(
        success=passed == len(every),
        results=every,
        suite_name="manifest",
        statistics={
            "evaluated_expectations": len(every),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(every) - passed,
            "success_percent": 100 * passed / len(every),
        },
        meta={
            "great_expectations_version": __version__,
            "batch_spec": {"data_asset_name": "images"},
        },
    )


def _shown(result: Any) -> Any:
    """Cut a result to what a page can hold, as text that is safe in it."""
    shown = copy(result)
    shown.result = {name: _plain(value) for name, value in result.result.items()}
    shown.result.pop("unexpected_index_query", None)
    offenders = shown.result.get("unexpected_index_list")
    if offenders:
        # Some expectations leave out which column names a row, and the page then shows none.
        column = result.expectation_config.kwargs["column"]
        keys = [key for key in offenders[0] if key != column] or [column]
        shown.result["unexpected_index_column_names"] = keys
    return shown


def _plain(value: Any) -> Any:
    """Turn numpy's scalars into Python's and cut lists; the templates do not escape markup."""
    if isinstance(value, list):
        return [_plain(item) for item in value[:EXAMPLES]]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    value = value.item() if hasattr(value, "item") else value
    return html.escape(value) if isinstance(value, str) else value
