"""A rule and its results of Great Expectations → a finding for the report."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.validation.rules import SHARES, Rule

# An offender is a file or a class that an expectation finds. The report names at most this many
# offenders of each expectation.
EXAMPLES = 20
# The expectation that always quarantines: a row without a label is quarantined even if `on_fail` is
# not `quarantine`. A row whose file cannot be decoded is also always quarantined. `decodes` is not
# named here, because the reason of such a row is the code of its fault.
ALWAYS_QUARANTINES = "label_filled"

Example = tuple[str, float | None]


@dataclass(frozen=True)
class Finding:
    """The result of checking one expectation.

    name: the key of the expectation in the section `validate`. rule: what it demands, in words.
    on_fail: what happens if it fails: quarantine, stop or warn. observed: what was found, in words.

    offenders: the paths of the files, or the labels of the classes, that break the rule, in the
    order of the table. If the rule bounds a share, such as the share of files with a fault, the
    offenders are the files in this share, even if the rule passes.

    examples: at most EXAMPLES offenders, as (path or label, measured value). If the rule bounds one
    measured value, the examples are the offenders furthest outside of the bounds. Otherwise the
    examples are the first offenders, and the value of each example is None.
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
        """True if the expectation failed and its `on_fail` is stop."""
        return not self.passed and self.on_fail == "stop"

    @property
    def quarantines(self) -> bool:
        """True if rows are quarantined and their reason is the name of this expectation."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_QUARANTINES

    def tree(self) -> dict[str, Any]:
        """Return a dict of plain values for JSON. Its `offenders` is a number, not the names."""
        examples = [{"name": name, "value": value} for name, value in self.examples]
        return asdict(self) | {"offenders": len(self.offenders), "examples": examples}


def build_finding(rule: Rule, results: Sequence[Any], key: str, table: pd.DataFrame) -> Finding:
    """Build one finding from the results of all checks of a rule.

    results: the results of Great Expectations, in the format COMPLETE. A result gives the positions
    of the failing rows in the table. key: the name of the column that identifies a row. table: the
    table that was checked, with an index 0, 1, 2, ….
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
    """Return at most EXAMPLES offenders with their values, the worst value first.

    The worst value is the value that is furthest outside of the bounds of the rule. If the rule
    does not bound one measured value, return the first offenders, with the value None.
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
