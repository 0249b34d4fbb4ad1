"""Findings and numbers of images → the content of report.json, or an error that stops the run.

A finding is the result of one expectation, which is an entry of the section `validate` of
params.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.errors import UserError
from components.params.validate import RowRule, Validate
from components.validation.findings import Finding
from components.validation.shortcuts import Shortcuts

Outcome = Literal["passed", "passed with warnings", "quarantined", "stopped"]


@dataclass(frozen=True)
class ValidationReport:
    """The results of all expectations, and the number of accepted images of each class.

    findings: one finding for each expectation. before: class → the number of images of the class in
    the manifest. after: class → the number of accepted images of the class. reasons: text in the
    column `reason` → the number of quarantined rows with this text. slips: sets of labels that are
    spelled alike, from `components.validation.spellings`. shortcuts: how well each label can be
    predicted without looking at what a picture shows, from `components.validation.shortcuts`.
    figures, copies: the results of the functions `class_examples`, `overview` and `copies` in
    components.validation.overview.
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
        """True if all expectations are met."""
        return all(finding.passed for finding in self.findings)

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the validation.

        The outcome is "stopped" if a failed expectation stops the run, or if fewer than two classes
        have accepted images. Otherwise it is "quarantined" if a row is quarantined. Otherwise it is
        "passed" or "passed with warnings".
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
        """Return the report as plain values for JSON."""
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

        where: the path of report.json, which the message names.
        """
        stops = [finding for finding in self.findings if finding.stops]
        if stops:
            received = "; ".join(map(self._sentence, stops))
            raise UserError(
                f"{len(stops)} of {len(self.findings)} expectations stop the run; correct data/raw "
                f"or change {', '.join(f'validate.{finding.name}' for finding in stops)} in "
                f"params.yaml{_quarantine_advice(stops)} ({where} has more examples). "
                f"Received: {received}"
            )
        if len(self._classes_left) < 2:
            raise UserError(
                "fewer than two classes are left after quarantine; correct data/raw "
                f"({where} has the reasons). "
                f"Received: {', '.join(self._classes_left) or 'no image'}"
            )

    def _sentence(self, finding: Finding) -> str:
        names = finding.offenders[:3]
        if finding.name == "images_per_class":
            names = tuple(f"{name} has {self.after[name]}" for name in names)
        return f"{finding.name}: {finding.rule}, but {finding.observed} ({', '.join(names)})"


def _quarantine_advice(stops: Sequence[Finding]) -> str:
    """Return the advice to quarantine images instead, for the expectations that can do this."""
    kinds = {name: field.annotation for name, field in Validate.model_fields.items()}
    names = [
        f"validate.{finding.name}"
        for finding in stops
        if isinstance(kind := kinds[finding.name], type) and issubclass(kind, RowRule)
    ]
    if not names:
        return ""
    return f"; `on_fail: quarantine` in {', '.join(names)} leaves these images out"
