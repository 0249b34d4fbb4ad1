"""findings, counts of images → the content of report.json, and the error that stops the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.errors import UserError
from components.validation.findings import Finding
from components.validation.shortcuts import Shortcuts

Outcome = Literal["passed", "passed with warnings", "quarantined", "stopped"]


@dataclass(frozen=True)
class ValidationReport:
    """What all expectations found, and how many images of each class are accepted.

    before: class → number of its images in the manifest. after: class → number of its accepted
    images. reasons: reason → number of rows quarantined for it. slips: sets of labels that differ
    only in case and blanks. figures, copies: see components.validation.overview.
    """

    findings: tuple[Finding, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    reasons: Mapping[str, int]
    slips: tuple[tuple[str, ...], ...]
    shortcuts: Shortcuts
    figures: Mapping[str, Any]
    copies: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """True if every expectation was met."""
        return all(finding.passed for finding in self.findings)

    @property
    def outcome(self) -> Outcome:
        """Return the most severe outcome that applies.

        The run is stopped by an expectation, or because fewer than two classes are left.
        """
        if any(finding.stops for finding in self.findings) or len(self._classes_left) < 2:
            return "stopped"
        if self.reasons:
            return "quarantined"
        return "passed" if self.passed else "passed with warnings"

    @property
    def _classes_left(self) -> list[str]:
        return [label for label, count in self.after.items() if count]

    def tree(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        rows, accepted = sum(self.before.values()), sum(self.after.values())
        return {
            "passed": self.passed,
            "outcome": self.outcome,
            "rows": rows,
            "accepted": accepted,
            "quarantined": rows - accepted,
            "quarantined_by_reason": dict(self.reasons),
            "expectations": [finding.tree() for finding in self.findings],
            "classes": {
                label: {"before": count, "after": self.after.get(label, 0)}
                for label, count in self.before.items()
            },
            "label_slips": [list(labels) for labels in self.slips],
            "shortcuts": self.shortcuts.tree(),
            **self.figures,
            **self.copies,
        }

    def check_may_go_on(self, where: object) -> None:
        """Raise UserError if an expectation stops the run or fewer than two classes are left.

        where: path of report.json, for the message.
        """
        stops = [finding for finding in self.findings if finding.stops]
        if stops:
            received = "; ".join(map(self._sentence, stops))
            raise UserError(
                f"{len(stops)} of {len(self.findings)} expectations stop the run; correct data/raw "
                f"or change {', '.join(f'validate.{finding.name}' for finding in stops)} in "
                f"params.yaml; {where} has more examples. Received: {received}"
            )
        if len(self._classes_left) < 2:
            raise UserError(
                f"fewer than two classes are left after quarantine; correct data/raw; {where} has "
                f"the reasons. Received: {', '.join(self._classes_left) or 'no image'}"
            )

    def _sentence(self, finding: Finding) -> str:
        names = finding.offenders[:3]
        if finding.name == "images_per_class":
            names = tuple(f"{name} has {self.after[name]}" for name in names)
        return f"{finding.name}: {finding.rule}, but {finding.observed} ({', '.join(names)})"
