"""What the register report, the model card and MLflow's descriptions are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.evaluation.comparison import Comparison
from components.evaluation.gate import Verdict
from components.evaluation.slices import Slice


@dataclass(frozen=True)
class ModelFacts:
    """A model, and what MLflow knows of it.

    name: the name of the registered model. version: the number of its version; None if it has none,
    as in an experiment of DVC. model_id: the sha256 of its file. tags: the lineage, key → value; an
    older version has fewer keys. params: the params of its training, dotted name → value; empty if
    MLflow does not know them.
    """

    name: str
    version: int | None
    model_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]

    @property
    def title(self) -> str:
        """Return `version 3 of digits`, or `a model without a version, for digits`."""
        if self.version is None:
            return f"a model without a version, for {self.name}"
        return f"version {self.version} of {self.name}"

    @property
    def commit(self) -> str | None:
        """Return the commit, 40 hex digits; None if it is not known."""
        commit = self.tags.get("git.commit", "")
        return commit if len(commit) == 40 else None


@dataclass(frozen=True)
class Judged:
    """A verdict on a model, and what it is about.

    model: the model. champion: the champion of the comparison; None if there was none. verdict: the
    verdict. images: class → the number of its test images in the verdict. slices: the slices of the
    test images on which the model is surely weak, the weakest first, as the stage `evaluate` has
    found them; None if they are not known.
    """

    model: ModelFacts
    champion: ModelFacts | None
    verdict: Verdict
    images: Mapping[str, int]
    slices: Sequence[Slice] | None

    @property
    def is_champion(self) -> bool:
        """Return True if the model is the champion itself."""
        return self.champion is not None and self.champion.model_id == self.model.model_id

    @property
    def compared(self) -> bool:
        """Return True if the verdict is from a comparison with the champion."""
        return any(row.champion is not None for row in self.verdict.comparison)

    @property
    def figure_images(self) -> int:
        """Return the number of test images that the figures of the whole model are of.

        If the champion does not know all classes, these are the images of the classes that both
        models know.
        """
        rows = self.verdict.comparison
        if not has_new_classes(rows):
            return self.verdict.images
        known = [row.class_name for row in rows if row.champion is not None]
        return sum(self.images[name] for name in known if name is not None)

    @property
    def overall(self) -> list[Comparison]:
        """Return the rows of the metrics that describe the whole model."""
        return [row for row in self.verdict.comparison if row.class_name is None]


def has_new_classes(rows: Sequence[Comparison]) -> bool:
    """Return True if the champion of a comparison does not know all classes of the model.

    Then the figures of the whole model are of the images of the classes that both models know.
    """
    known = [row.champion is not None for row in rows if row.class_name is not None]
    return any(known) and not all(known)


def worst_first(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the rows of the classes; those whose recall fell most come first.

    Classes that the champion does not know have no fall. They come after those that fell, and
    before those that did not. Without a champion, the lowest recall comes first. A class without
    test images is last.
    """
    return sorted((row for row in rows if row.class_name is not None), key=_fall)


def _fall(row: Comparison) -> tuple[float, float]:
    own = row.challenger.value
    if own is None:
        return (2.0, 0.0)
    change = row.difference.value if row.difference else None
    return (0.0 if change is None else change, own)
