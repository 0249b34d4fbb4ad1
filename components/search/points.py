"""A search space and chosen values → a point, the hyperparameters of one trial.

A search space is a function that asks an object like an optuna.Trial for values, one after the
other. So what it asks for may depend on values that it received before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.search.space import Overrides

# A search space, see `components.search.sampling.Sampling`.
Define = Callable[[Any], Overrides]


@dataclass(frozen=True)
class Point:
    """The hyperparameters of one trial.

    overrides: a dict from names (such as `model.dropout`) to values, what the trial trains with.
    distributions: a dict from the same names to Optuna's distributions, the values that could have
        been chosen. It is empty for a point outside of the search space. Such a trial counts and
        can win, but no sampler learns from it, because Optuna knows no points outside.
    """

    overrides: Overrides
    distributions: Mapping[str, Any] = field(default_factory=dict)


def fixed_point(define: Define, overrides: Overrides) -> Point:
    """Return a point with given overrides, with its distributions if the search space contains it.

    The overrides may have names that the search space does not ask for under these values (the
    beta of an optimizer that is not chosen). They stay in the overrides.
    """
    import optuna

    trial = Chooser(lambda name, distribution: overrides[name])
    try:
        define(trial)
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL,
            params=trial.params,
            distributions=trial.distributions,
        )
    except (KeyError, ValueError):  # A name is missing, or a value is outside of its range.
        return Point(overrides)
    return Point(overrides, trial.distributions)


class Chooser:
    """The three methods of an optuna.Trial that a search space calls; `choose` gives the values."""

    def __init__(self, choose: Callable[[str, Any], Any]) -> None:
        self._choose = choose
        self.params: Overrides = {}
        self.distributions: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of the choices."""
        import optuna

        return self._suggest(name, optuna.distributions.CategoricalDistribution(choices))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        """Choose a float from low to high."""
        import optuna

        return self._suggest(name, optuna.distributions.FloatDistribution(low, high, log, step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        """Choose an integer from low to high."""
        import optuna

        return self._suggest(name, optuna.distributions.IntDistribution(low, high, log, step))

    def _suggest(self, name: str, distribution: Any) -> Any:
        if name not in self.params:
            self.distributions[name] = distribution
            self.params[name] = self._choose(name, distribution)
        return self.params[name]
