"""A rule, its results from Great Expectations → a finding for report.json.

An expectation is an entry of the section `validate` of params.yaml, such as "every image has a
label". A rule describes an expectation, so that the library Great Expectations can check it. A
finding says whether the data meet the expectation.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.validation.rules import SHARES, Rule
from components.words import name_list

# An offender is a file or a class that does not meet an expectation. For each expectation, the
# report names at most this many offenders.
EXAMPLES = 20
# The expectation that always quarantines. A row without a label is quarantined even if `on_fail` of
# this expectation is not `quarantine`. A row whose file cannot be decoded is also always
# quarantined, but its reason is the code of its fault (such as `truncated`). So the expectation
# `decodes` is not named here.
ALWAYS_QUARANTINES = "label_filled"

# If more than this share of the pictures of the data set, or of a class, have the same fault, the
# fault is shared: it is one finding about the data set or the class. The pictures are not listed.
MOST = 0.5

Example = tuple[str, float | None]


@dataclass(frozen=True)
class Shared:
    """A fault that most pictures of the data set, or of a class, have.

    label: the class; None if most pictures of the data set have the fault. files: the number of
    files with the fault. of: the number of decoded files of the data set or of the class.
    """

    label: str | None
    files: int
    of: int


@dataclass(frozen=True)
class Finding:
    """The result of checking one expectation.

    name: the key of the expectation in the section `validate`. rule: what the expectation demands,
    in words. on_fail: what happens if the expectation fails: quarantine, stop or warn. passed: True
    if the expectation is met. observed: what was found, in words.

    offenders: the paths of the files (or the labels of the classes) that do not meet the
    expectation, in the order of the table. If the expectation limits a share, such as the share of
    files with a fault, the offenders are all files with a fault, even if the expectation is met.

    examples: at most EXAMPLES offenders, as (path or label, measured value). If the expectation
    limits one measured value, the examples are the offenders whose values are furthest outside the
    limits. Otherwise the examples are the first offenders, and the value of each example is None.
    The files that `shared` counts are no examples.

    shared: see `_shared_faults`.
    """

    name: str
    rule: str
    on_fail: str
    passed: bool
    observed: str
    offenders: tuple[str, ...]
    examples: tuple[Example, ...]
    shared: tuple[Shared, ...]

    @property
    def stops(self) -> bool:
        """True if the expectation failed and its `on_fail` is stop."""
        return not self.passed and self.on_fail == "stop"

    @property
    def quarantines(self) -> bool:
        """True if the expectation quarantines rows, and its name is the reason of these rows."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_QUARANTINES

    def tree(self) -> dict[str, Any]:
        """Return a dict of plain values for JSON. `offenders` is the number of offenders."""
        examples = [{"name": name, "value": value} for name, value in self.examples]
        return asdict(self) | {"offenders": len(self.offenders), "examples": examples}


def build_finding(rule: Rule, results: Sequence[Any], key: str, table: pd.DataFrame) -> Finding:
    """Build one finding from the results of all checks of a rule.

    results: the results of Great Expectations for the checks, in the format COMPLETE. A result
    gives the index of each failing row. key: the name of the column that identifies a row, such as
    `path`. table: the table that was checked. Its index is 0, 1, 2, ….
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
    shared = _shared_faults(rule, offenders, table)
    labels = [fault.label for fault in shared if fault.label is not None]
    listed = offenders[~offenders["label"].isin(labels)]
    if shared:
        observed += f": most of {_place(labels)}"
        listed = listed if labels else listed.head(0)
    return Finding(
        name=rule.name,
        rule=rule.words,
        on_fail=rule.on_fail,
        passed=all(result.success for result in results),
        observed=observed,
        offenders=tuple(offenders[key]),
        examples=_examples(rule, listed, key),
        shared=shared,
    )


def _shared_faults(rule: Rule, offenders: pd.DataFrame, table: pd.DataFrame) -> tuple[Shared, ...]:
    """Return the fault of a rule that is shared by the data set, or by some classes.

    A fault is shared by the data set if more than the share MOST of its decoded files have it.
    Otherwise, it is shared by a class if more than MOST of the decoded files of the class have it.
    A fault that only EXAMPLES files have is not shared, because the report can list these files. If
    a rule quarantines or stops, its faults are never shared, because the user needs every file.

    Example: 90 of 100 pictures of `cat` and 3 of 200 pictures of `dog` are blurred. The class `cat`
    shares the fault. The 3 pictures of `dog` are listed.
    """
    if rule.on_fail != "warn" or not rule.is_on_pictures:
        return ()
    decoded = table[table["pixels_id"].notna()]
    failing = decoded.index.intersection(offenders.index)
    whole = Shared(None, len(failing), len(decoded))
    if _is_shared(whole):
        return (whole,)
    counts = decoded.loc[failing, "label"].value_counts().sort_index()
    sizes = decoded["label"].value_counts()
    classes = (Shared(str(label), int(files), int(sizes[label])) for label, files in counts.items())
    return tuple(filter(_is_shared, classes))


def _place(labels: Sequence[str]) -> str:
    if not labels:
        return "the data set"
    return f"{'class' if len(labels) == 1 else 'classes'} {name_list(labels)}"


def _is_shared(fault: Shared) -> bool:
    return fault.files > max(EXAMPLES, MOST * fault.of)


def _examples(rule: Rule, offenders: pd.DataFrame, key: str) -> tuple[Example, ...]:
    """Return at most EXAMPLES offenders with their values, the worst value first.

    The worst value is the value that is furthest outside the limits of the rule. If the rule does
    not limit one measured value, return the first offenders, with the value None.
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
