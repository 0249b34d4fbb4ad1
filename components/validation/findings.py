"""A rule, its results of Great Expectations on a table → a finding for the report."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.validation.rules import SHARES, Rule

EXAMPLES = 20  # The report names at most this many offenders of an expectation.
# A row without a label is quarantined whatever `on_fail` says. So is a row that does not decode,
# but its reason is the code of its fault, not the name of the expectation `decodes`.
ALWAYS_QUARANTINES = "label_filled"

Example = tuple[str, float | None]


@dataclass(frozen=True)
class Finding:
    """What one expectation found.

    rule: the expectation in words. observed: what was found instead, in words. offenders: all paths
    (or labels) that break the rule, in the order of the table. examples: at most EXAMPLES of the
    offenders, as (path or label, value). If the rule bounds one measured value, the examples are
    the offenders furthest outside of the bounds. Otherwise they are the first offenders, and each
    value is None.
    """

    name: str
    rule: str
    on_fail: str
    passed: bool
    observed: str
    offenders: tuple[str, ...]
    examples: tuple[Example, ...]

    @property
    def stops(self) -> bool:
        """True if the finding stops the run."""
        return not self.passed and self.on_fail == "stop"

    @property
    def quarantines(self) -> bool:
        """True if rows are quarantined with the name of this expectation as their reason."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_QUARANTINES

    def tree(self) -> dict[str, Any]:
        """Return plain values for JSON. `offenders` is the number of offenders, not their names."""
        examples = [{"name": name, "value": value} for name, value in self.examples]
        return asdict(self) | {"offenders": len(self.offenders), "examples": examples}


def build_finding(rule: Rule, results: Sequence[Any], key: str, table: pd.DataFrame) -> Finding:
    """Build one finding from the results of all checks of a rule.

    results: of Great Expectations, in its format COMPLETE. They give failing rows by their number
    in the table. key: column whose value names a row.
    """
    column = rule.checks[0][1]["column"]
    if column in SHARES:
        offenders = table[table[column] > 0]
        observed = f"{results[0].result['observed_value']:.1%} do"
    else:
        failing = {
            row for result in results for row in result.result["unexpected_index_list"] or ()
        }
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
    """Return the offenders furthest outside of the bounds of the rule.

    If the rule does not bound one measured value, return the first offenders, with the value None.
    """
    (_, arguments), *others = rule.checks
    values = offenders[arguments["column"]]
    is_bounded = {"min_value", "max_value"} & arguments.keys() and values.dtype == float
    if others or not is_bounded or arguments["column"] in SHARES:
        return tuple((name, None) for name in offenders[key].head(EXAMPLES))
    below = arguments.get("min_value", -math.inf) - values
    above = values - arguments.get("max_value", math.inf)
    worst = np.maximum(below, above).sort_values(ascending=False, kind="stable").index[:EXAMPLES]
    return tuple(zip(offenders.loc[worst, key], values[worst].tolist(), strict=True))
