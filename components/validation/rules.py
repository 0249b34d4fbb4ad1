"""Section `validate` of params.yaml → rules.

An expectation is an entry of the section `validate`, such as the minimum size of an image. A rule
describes an expectation in two forms: as a sentence for people, and as checks for the library Great
Expectations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.params.validate import Validate

# Name of a column → words for the files with the value 1.0 in this column. All other files have the
# value 0.0. So the mean of the column is the share of the files with the value 1.0.
SHARES = {"faulty": "have a fault", "duplicate": "repeat the pixels of an earlier image"}

Check = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Rule:
    """An expectation of params.yaml, in words and as checks.

    name: the key of the expectation in the section `validate`. words: what the expectation demands,
    as a sentence. on_fail: what happens if the expectation fails: quarantine, stop or warn. checks:
    one or two checks, as (name of a class of Great Expectations, arguments of the class).
    is_on_pictures: True if the rule limits the format, the size or the looks of each picture.
    """

    name: str
    words: str
    on_fail: str
    checks: tuple[Check, ...]
    is_on_pictures: bool = False


def image_rules(params: Validate) -> list[Rule]:
    """Return the rules for images, in the order in which they quarantine rows."""
    return [*_file_rules(params), *_picture_rules(params), *_copy_rules(params)]


def class_rules(params: Validate) -> list[Rule]:
    """Return the rules for the number of images of a class and for the spelling of its label."""
    least = params.images_per_class.min
    checks = [
        ("images_per_class", f"every class has {least} images or more", _between("images", least)),
        (
            "label_slips",
            "labels differ in more than case and blanks",
            _between("spellings", None, 1),
        ),
    ]
    return [_rule(params, name, words, check) for name, words, check in checks]


def shortcut_rule(params: Validate) -> Rule:
    """Return the rule `shortcuts`: no label can be predicted well from facts of the file.

    Facts of the file are for example its size and its format. There is no such rule for facts of
    light and colour, because the images of a class may really be darker than the images of other
    classes.
    """
    most = params.shortcuts.max_auc
    words = f"size, aspect, bytes, format and mode predict no label with an AUC above {most}"
    return _rule(params, "shortcuts", words, _between("file_auc", None, most))


def _file_rules(params: Validate) -> list[Rule]:
    size, allowed = params.size, params.format.allowed
    sides = _between("shorter_px", size.min_px), _between("longer_px", None, size.max_px)
    filled = ("ExpectColumnValuesToMatchRegex", {"column": "label", "regex": r"\S"})
    sound = ("ExpectColumnValuesToBeNull", {"column": "fault"})
    rules = [
        _rule(params, "decodes", "every file decodes to an image", sound),
        _on_pictures(
            _rule(params, "format", f"formats are {', '.join(allowed)}", _among("format", allowed))
        ),
        _on_pictures(
            _rule(params, "size", f"sides measure {size.min_px} to {size.max_px} pixels", *sides)
        ),
        _rule(params, "label_filled", "every image has a label", filled),
    ]
    if params.label_known.labels != "any":
        known = params.label_known.labels
        words = f"labels are {', '.join(known)}"
        rules.append(_rule(params, "label_known", words, _among("label", known)))
    return rules


def _picture_rules(params: Validate) -> list[Rule]:
    """Return the rules for values that are measured on decoded pictures, such as brightness.

    If a file cannot be decoded, its values are null, so the file fails none of these rules.
    """
    dark, bright, blurry = params.dark.min_p99, params.bright.max_p1, params.blurry.min_sharpness
    bits, contrast = params.low_information.min_entropy, params.uniform.min_contrast
    ratio, factor = params.odd_aspect.max_ratio, params.odd_size.max_factor
    frame = params.border.max_share
    checks = [
        (
            "dark",
            f"at least 1 % of the pixels have a brightness of {dark} to 1",
            _between("brightness_p99", dark),
        ),
        (
            "bright",
            f"at least 1 % of the pixels have a brightness of 0 to {bright}",
            _between("brightness_p1", None, bright),
        ),
        ("blurry", f"the sharpest edges reach {blurry}", _between("sharpness", blurry)),
        (
            "low_information",
            f"the entropy of the grey levels is {bits} bits or more",
            _between("entropy", bits),
        ),
        (
            "uniform",
            f"the standard deviation of the brightness is {contrast} or more",
            _between("contrast", contrast),
        ),
        (
            "odd_aspect",
            f"the longer side is at most {ratio} times the shorter",
            # The bound is rounded, because the aspects in the manifest are rounded to 6 digits.
            _between("aspect", round(1 / ratio, 6), ratio),
        ),
        (
            "odd_size",
            f"the size is at most {factor} times the median size, and at least 1 / {factor} of it",
            _between("side_factor", 1 / factor, factor),
        ),
        (
            "border",
            f"a frame of one colour takes at most {frame:.0%} of the area",
            _between("border_share", None, frame),
        ),
    ]
    return [_on_pictures(_rule(params, name, words, check)) for name, words, check in checks]


def _copy_rules(params: Validate) -> list[Rule]:
    """Return the rules for copies and faults, in the order in which they quarantine rows.

    The rules `duplicate_share` and `near_duplicates` keep one image of each set of copies. The
    rules for copies with several labels come first, so that the kept image is never an image that
    is quarantined because of its label. `duplicate_share` comes before `near_duplicates`. So if
    both rules quarantine, an exact copy gets the reason `duplicate_share`.
    """
    faults, copies = params.fault_share.max, params.duplicate_share.max
    checks = [
        (
            "label_conflicts",
            "the same pixels have one label",
            _between("labels_of_pixels", None, 1),
        ),
        (
            "near_conflicts",
            "images that are nearly the same have one label",
            _between("labels_of_cluster", None, 1),
        ),
        ("fault_share", _share_words(faults, "faulty"), _mean("faulty", faults)),
        ("duplicate_share", _share_words(copies, "duplicate"), _mean("duplicate", copies)),
        (
            "near_duplicates",
            "no image is nearly the same as an earlier one",
            _between("near_copy", None, 0),
        ),
    ]
    return [_rule(params, name, words, check) for name, words, check in checks]


def _rule(params: Validate, name: str, words: str, *checks: Check) -> Rule:
    return Rule(name, words, getattr(params, name).on_fail, checks)


def _on_pictures(rule: Rule) -> Rule:
    return replace(rule, is_on_pictures=True)


def _among(column: str, values: Sequence[str]) -> Check:
    return "ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(values)}


def _between(column: str, least: float | None, most: float | None = None) -> Check:
    """Return a check that no value is below `least` or above `most`; None means no limit.

    Null values pass the check.
    """
    limits = {"min_value": least, "max_value": most}
    bounds = {name: limit for name, limit in limits.items() if limit is not None}
    return "ExpectColumnValuesToBeBetween", {"column": column, **bounds}


def _mean(column: str, most: float) -> Check:
    return "ExpectColumnMeanToBeBetween", {"column": column, "max_value": most}


def _share_words(most: float, column: str) -> str:
    return f"at most {most:.1%} of the files {SHARES[column]}"
