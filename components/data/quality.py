"""manifest, what failed → accepted and quarantined rows, and a report that says why.

A row is either accepted or quarantined, never both and never neither. A row without pixels or
without a label is always quarantined: whatever `on_fail` says, nobody can train on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from components.data.duplicates import label_counts, repeats
from components.errors import UserError

EXAMPLES = 20  # paths named in the report for one expectation; the quarantine table has them all
CONFLICTS = 100  # groups of contradicting images listed in the report
ALWAYS_OUT = "label_filled"  # as is `decodes`, by the code of the fault


@dataclass(frozen=True)
class Finding:
    """What one expectation found: its rule in words, and the paths (or classes) that break it."""

    name: str
    rule: str
    on_fail: str
    passed: bool
    observed: str
    offenders: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """True where the run must not go on."""
        return not self.passed and self.on_fail == "stop"

    @property
    def takes_out(self) -> bool:
        """True where rows are quarantined under the name of this expectation."""
        if self.passed or self.name == "decodes":
            return False
        return self.on_fail == "quarantine" or self.name == ALWAYS_OUT

    def tree(self) -> dict[str, Any]:
        """Return plain values, with the first offenders only."""
        tree = asdict(self)
        del tree["offenders"]
        examples = list(self.offenders[:EXAMPLES])
        return tree | {"offenders": len(self.offenders), "examples": examples}


@dataclass(frozen=True)
class ValidationReport:
    """What all expectations found, and how many images of each class are left."""

    findings: tuple[Finding, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    reasons: Mapping[str, int]
    conflicts: tuple[tuple[Mapping[str, str], ...], ...]

    def tree(self) -> dict[str, Any]:
        """Return the report as plain values."""
        rows, kept = sum(self.before.values()), sum(self.after.values())
        return {
            "passed": all(finding.passed for finding in self.findings),
            "rows": rows,
            "accepted": kept,
            "quarantined": rows - kept,
            "quarantined_by_reason": dict(self.reasons),
            "expectations": [finding.tree() for finding in self.findings],
            "classes": {
                label: {"before": count, "after": self.after.get(label, 0)}
                for label, count in self.before.items()
            },
            "label_conflict_groups": len(self.conflicts),
            "label_conflicts": [list(map(dict, group)) for group in self.conflicts[:CONFLICTS]],
        }


def measured(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the columns that expectations speak of.

    shorter_px and longer_px: sides. labels_of_pixels: labels under which the same pixels occur.
    faulty and duplicate: 1.0 where a row is so, else 0.0, so that their mean is a share.
    """
    sides = manifest[["width", "height"]]
    return manifest.assign(
        shorter_px=sides.min(axis=1),
        longer_px=sides.max(axis=1),
        labels_of_pixels=label_counts(manifest),
        faulty=manifest["fault"].notna().astype(float),
        duplicate=repeats(manifest).astype(float),
    )


def parted(
    manifest: pd.DataFrame, findings: Iterable[Finding]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accepted rows, and quarantined rows with a column `reason`.

    The reason lists the code of the fault and the names of the expectations that a row fails and
    that quarantine. Both keep the manifest's order; together they are all of its rows. Surplus
    copies and small classes are looked for among the rows that all findings before have left.
    """
    reasons: dict[str, list[str]] = {
        path: [fault]
        for path, fault in zip(manifest["path"], manifest["fault"], strict=True)
        if isinstance(fault, str)
    }
    for finding in findings:
        if finding.takes_out:
            for path in _blamed(finding, manifest[~manifest["path"].isin(list(reasons))]):
                reasons.setdefault(path, []).append(finding.name)
    leaves = manifest["path"].isin(list(reasons))
    quarantine = manifest[leaves].reset_index(drop=True)
    reason = [", ".join(reasons[path]) for path in quarantine["path"]]
    quarantine["reason"] = pd.Series(reason, dtype="str")
    return manifest[~leaves].reset_index(drop=True), quarantine


def class_counts(rows: pd.DataFrame, labels: Iterable[str] = ()) -> dict[str, int]:
    """Return how many rows every class has, sorted by label; 0 for `labels` that do not occur."""
    found = rows["label"].value_counts().to_dict()
    return {str(label): int(found.get(label, 0)) for label in sorted({*found, *labels})}


def conflicts(manifest: pd.DataFrame) -> tuple[tuple[Mapping[str, str], ...], ...]:
    """Return the images, as {path, label}, of every set of equal pixels with unequal labels."""
    contradicting = manifest[label_counts(manifest) > 1]
    sets = contradicting.groupby("pixels_id", sort=False)[["path", "label"]]
    return tuple(tuple(images.to_dict("records")) for _, images in sets)


def check_may_go_on(report: ValidationReport, where: object) -> None:
    """Raise UserError where an expectation stops the run or fewer than two classes are left."""
    stops = [finding for finding in report.findings if finding.stops]
    if stops:
        received = "; ".join(_sentence(report, finding) for finding in stops)
        raise UserError(
            f"{len(stops)} of {len(report.findings)} expectations stop the run; mend data/raw or "
            f"change {', '.join(f'validate.{finding.name}' for finding in stops)} in params.yaml; "
            f"all is listed in {where}. Received: {received}"
        )
    left = [label for label, count in report.after.items() if count]
    if len(left) < 2:
        raise UserError(
            f"fewer than two classes are left after quarantine; mend data/raw; the reasons are "
            f"listed in {where}. Received: {', '.join(left) or 'no image'}"
        )


def _blamed(finding: Finding, left: pd.DataFrame) -> Iterable[str]:
    """Return the paths that a finding takes out; left: rows that none before it has taken out."""
    if finding.name == "duplicate_share":  # not all offenders: one copy must be left
        return list(left.loc[repeats(left), "path"])
    if finding.name == "images_per_class":
        return list(left.loc[left["label"].isin(finding.offenders), "path"])
    return finding.offenders


def _sentence(report: ValidationReport, finding: Finding) -> str:
    examples = [
        f"{name} has {report.after[name]}" if name in report.after else name
        for name in finding.offenders[:3]
    ]
    return f"{finding.name}: {finding.rule}, but {finding.observed} ({', '.join(examples)})"
