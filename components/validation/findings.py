"""A rule, results of Great Expectations on a table → what the rule found, for the report."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.validation.rules import SHARES, Rule

EXAMPLES = 20  # named in the report for one expectation; the quarantine table has them all
ALWAYS_QUARANTINES = "label_filled"  # as does `decodes`, by the code of the fault

Example = tuple[str, float | None]


@dataclass(frozen=True)
class Finding:
    """What one expectation found: its rule in words, and the paths (or labels) that break it.

    offenders: all of them, in the order of the table. examples: the first few, as (name, value);
    where a rule has bounds on one value, those that break them most, else the value is None.
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
        """True where the run must not go on."""
        return not self.passed and self.on_fail == "stop"

    @property
    def quarantines(self) -> bool:
        """True where rows are quarantined under the name of this expectation."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_QUARANTINES

    def tree(self) -> dict[str, Any]:
        """Return plain values, with the examples in place of all offenders."""
        examples = [{"name": name, "value": value} for name, value in self.examples]
        return asdict(self) | {"offenders": len(self.offenders), "examples": examples}


def build_finding(rule: Rule, results: Sequence[Any], key: str, table: pd.DataFrame) -> Finding:
    """Gather the results of a rule's checks.

    results: of Great Expectations, in COMPLETE format, with failing rows by their number in the
    table. key: the column that names a row.
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
    """Return the first offenders, or those furthest outside where a rule bounds a measure."""
    (_, arguments), *others = rule.checks
    values = offenders[arguments["column"]]
    is_bounded = {"min_value", "max_value"} & arguments.keys() and values.dtype == float
    if others or not is_bounded or arguments["column"] in SHARES:
        return tuple((name, None) for name in offenders[key].head(EXAMPLES))
    below = arguments.get("min_value", -math.inf) - values
    above = values - arguments.get("max_value", math.inf)
    worst = np.maximum(below, above).sort_values(ascending=False, kind="stable").index[:EXAMPLES]
    return tuple(zip(offenders.loc[worst, key], values[worst].tolist(), strict=True))
