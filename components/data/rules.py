"""params → the expectations on a manifest, in words and as Great Expectations names them."""

from dataclasses import dataclass
from typing import Any

from components.params import DuplicateShare, FaultShare, RowRule, Validate

# Column of the share → what its offenders are called.
SHARES = {"faulty": "have a fault", "duplicate": "repeat the pixels of an earlier image"}


@dataclass(frozen=True)
class Rule:
    """An expectation of ours: its words, and the kind and arguments of one or two of GX's."""

    name: str
    words: str
    on_fail: str
    checks: tuple[tuple[str, dict[str, Any]], ...]


def image_rules(params: Validate) -> list[Rule]:
    """List the expectations on images; `label_known: any` expects nothing and is left out."""
    size = params.size
    allowed: list[str] = list(params.format.allowed)
    rules = [
        _null("decodes", "every file decodes to an image", params.decodes, "fault"),
        _in_set("format", f"formats are {', '.join(allowed)}", params.format, "format", allowed),
        Rule(
            "size",
            f"sides measure {size.min_px} to {size.max_px} pixels",
            size.on_fail,
            (
                _between(column="shorter_px", min_value=size.min_px),
                _between(column="longer_px", max_value=size.max_px),
            ),
        ),
        Rule(
            "label_filled",
            "every image lies in a class folder",
            params.label_filled.on_fail,
            (("ExpectColumnValuesToMatchRegex", {"column": "label", "regex": r"\S"}),),
        ),
    ]
    if params.label_known.labels != "any":
        known = list(params.label_known.labels)
        words = f"labels are {', '.join(known)}"
        rules.append(_in_set("label_known", words, params.label_known, "label", known))
    return [
        *rules,
        Rule(
            "label_conflicts",
            "the same pixels have one label",
            params.label_conflicts.on_fail,
            (_between(column="labels_of_pixels", max_value=1),),
        ),
        _at_most("fault_share", params.fault_share, "faulty"),
        _at_most("duplicate_share", params.duplicate_share, "duplicate"),
    ]


def class_rule(params: Validate) -> Rule:
    """Return the expectation on the number of images that every class keeps."""
    rule = params.images_per_class
    check = _between(column="images", min_value=rule.min)
    return Rule("images_per_class", f"every class keeps {rule.min} images", rule.on_fail, (check,))


def _null(name: str, words: str, rule: RowRule, column: str) -> Rule:
    return Rule(name, words, rule.on_fail, (("ExpectColumnValuesToBeNull", {"column": column}),))


def _in_set(name: str, words: str, rule: RowRule, column: str, values: list[str]) -> Rule:
    check = ("ExpectColumnValuesToBeInSet", {"column": column, "value_set": values})
    return Rule(name, words, rule.on_fail, (check,))


def _between(**arguments: Any) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeBetween", arguments


def _at_most(name: str, rule: FaultShare | DuplicateShare, column: str) -> Rule:
    words = f"at most {rule.max:.1%} of the files {SHARES[column]}"
    check = ("ExpectColumnMeanToBeBetween", {"column": column, "max_value": rule.max})
    return Rule(name, words, rule.on_fail, (check,))
