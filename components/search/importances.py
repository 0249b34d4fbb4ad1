"""Finished trials → the share of the variance of an objective that each hyperparameter explains.

The method is fANOVA (Hutter et al., 2014), from Optuna: a random forest learns the objective from
the hyperparameters. The share of a hyperparameter is the part of the variance of the forest, over
the whole search space, that this hyperparameter explains alone. So 1 minus the sum of the shares is
explained by several hyperparameters together. A range with `log: true` counts on its logarithm.

A forest also finds shares in noise: with a single hyperparameter, its share is always 1. So a share
is given only if the forest predicts trials that it has not seen. The measure is R² on the trials
that a tree was not fitted on (out-of-bag, Breiman, 2001). It is at most 0 if the forest predicts no
better than the mean.

Some trials do not have a hyperparameter with a condition `when`. The forest sees the middle of its
range there, or its first choice, as in Hutter et al. for inactive hyperparameters. Such a
hyperparameter can only explain the variance among the trials that have it, so a second forest
learns from these trials. By the law of total variance, its share there is multiplied by

    squared deviations among the trials that have it / squared deviations among all trials

Example: all 40 trials choose the optimizer, 20 of them choose sgd, and these choose a momentum. If
half of all squared deviations are within the 20 trials, and the momentum explains 60 % there, then
it explains 30 % of the variance of all trials.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.params.search import (
    Choices,
    Range,
    Space,
    SpaceValues,
    is_chosen,
    is_inside,
    is_one_of,
)
from components.search.memory_study import memory_study
from components.search.trial import Trial
from components.words import count_text

# On 40 searches whose values are noise, R² on unseen trials was above LOWEST_R2 in at most 3, with
# 10 to 20 trials and 1 to 8 hyperparameters. With 8 trials, it was so in up to 6 of 40.
FEWEST_TRIALS = 10
LOWEST_R2 = 0.2
# The trials hardly differ if all values are within this share of the largest one.
SMALL_DIFFERENCE = 0.005
# A sentence names at most MOST_NAMED hyperparameters, those with at least this share.
LARGE_SHARE = 0.1
MOST_NAMED = 3
TREES = 64  # the number of trees in Optuna's evaluator


@dataclass(frozen=True)
class Importances:
    """How much of the variance of an objective the hyperparameters explain.

    objective: the name of the objective. shares: a dict from the name of a hyperparameter to its
    share, 0 to 1, the largest one first. left_out: a dict from the names of the other
    hyperparameters of the search space to the reason why they have no share. empty_because: one
    sentence if there is no share at all, otherwise empty. If the trials are too few or hardly
    differ, this sentence is the reason for all hyperparameters, and `left_out` is empty.
    """

    objective: str
    shares: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    empty_because: str = ""


def measure_importances(
    trials: Sequence[Trial], objective: str, space: Space, seed: int
) -> Importances:
    """Compute the shares. Equal trials give equal shares, in any order of trials and of the space.

    Only complete trials count that are points of the search space. At least FEWEST_TRIALS of them
    are needed.

    trials: the finished trials. objective: the name of an objective, a key of `Trial.first`.
    space: the search space. seed: the seed of the random forests, 0 to 2**32 - 1.
    """
    counted = sorted(_counted_trials(trials, objective, space), key=lambda trial: trial.number)
    if reason := _why_empty(counted, objective):
        return Importances(objective, empty_because=reason)
    shares: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for names, group in _groups(counted, space):
        part = _squared_deviations(group, objective) / _squared_deviations(counted, objective)
        varied = [name for name in sorted(space) if len(set(_numbers(group, name, space))) > 1]
        constant = [name for name in names if name not in varied]
        named = [name for name in names if name in varied]
        if len(group) < FEWEST_TRIALS:
            chose = f"only {count_text(len(group), 'complete trial')} chose it"
            left_out |= dict.fromkeys(names, f"{chose}, and {FEWEST_TRIALS} are needed")
            continue
        left_out |= dict.fromkeys(constant, "all trials with it have the same value")
        if named and part and _unseen_r2(group, objective, varied, space, seed) > LOWEST_R2:
            found = _fanova(group, objective, varied, space, seed)
            shares |= {name: part * found[name] for name in named}
        else:
            left_out |= dict.fromkeys(named, f"the trials with it do not predict {objective}")
    ordered = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    nothing = (
        f"no hyperparameter stands out: {objective} of a trial cannot be predicted from the "
        f"hyperparameters ({count_text(len(counted), 'complete trial')})"
    )
    return Importances(objective, ordered, left_out, "" if ordered else nothing)


def importance_sentence(importances: Importances) -> str:
    """Write one sentence about the shares.

    It names the hyperparameters with a share of at least LARGE_SHARE, at most MOST_NAMED of them.

    >>> shares = {"train.weight_decay": 0.612, "model.backbone": 0.2, "model.dropout": 0.03}
    >>> importance_sentence(Importances("val_accuracy", shares))
    'train.weight_decay explains 61 % of the variance of val_accuracy; model.backbone 20 %'
    """
    if not importances.shares:
        return importances.empty_because
    large = [item for item in importances.shares.items() if item[1] >= LARGE_SHARE][:MOST_NAMED]
    (name, share), *others = large or list(importances.shares.items())[:1]
    variance = f"{100 * share:.0f} % of the variance of {importances.objective}"
    if not large:
        return f"no hyperparameter stands out: {name} explains most, {variance}"
    more = "".join(f"; {other} {100 * part:.0f} %" for other, part in others)
    return f"{name} explains {variance}{more}"


def _counted_trials(trials: Sequence[Trial], objective: str, space: Space) -> Iterator[Trial]:
    for trial in trials:
        value = trial.first.get(objective, math.nan)
        if trial.state == "complete" and math.isfinite(value) and _is_point(trial, space):
            yield trial


def _is_point(trial: Trial, space: Space) -> bool:
    """Return whether the trial is a point of the space; the values in params.yaml may be none."""
    chosen = trial.overrides
    return all(
        is_inside(chosen[name], values, chosen[name])
        if name in chosen
        else not is_chosen(values, chosen)
        for name, values in space.items()
    )


def _why_empty(trials: Sequence[Trial], objective: str) -> str:
    if len(trials) < FEWEST_TRIALS:
        return (
            f"at least {FEWEST_TRIALS} complete trials are needed to say which hyperparameters "
            "matter, because differences between fewer trials may be chance; there "
            f"{'is' if len(trials) == 1 else 'are'} {len(trials)}"
        )
    values = [trial.first[objective] for trial in trials]
    low, high = min(values), max(values)
    if high - low <= SMALL_DIFFERENCE * max(abs(low), abs(high)):
        return (
            f"the trials hardly differ: {objective} is {low:.4g} to {high:.4g} in all "
            f"{len(trials)} complete trials, so no hyperparameter stands out"
        )
    return ""


def _groups(trials: Sequence[Trial], space: Space) -> list[tuple[list[str], list[Trial]]]:
    """Return names that the same trials have, and these trials, for all names of the space."""
    groups: dict[tuple[int, ...], tuple[list[str], list[Trial]]] = {}
    for name in sorted(space):
        having = [trial for trial in trials if name in trial.overrides]
        key = tuple(trial.number for trial in having)
        groups.setdefault(key, ([], having))[0].append(name)
    return list(groups.values())


def _squared_deviations(trials: Sequence[Trial], objective: str) -> float:
    import numpy as np

    values = np.array([trial.first[objective] for trial in trials])
    return float(((values - values.mean()) ** 2).sum()) if len(trials) else 0.0


def _numbers(trials: Sequence[Trial], name: str, space: Space) -> list[float]:
    """Return what the forest sees of a hyperparameter, a number for each trial."""
    values = space[name]
    if isinstance(values, Choices):
        first = values.choices[0]
        return [_place(trial.overrides.get(name, first), values) for trial in trials]
    low, high = _bounds(values)
    return [
        _scaled(trial.overrides[name], values) if name in trial.overrides else (low + high) / 2
        for trial in trials
    ]


def _place(value: Any, values: Choices) -> int:
    return next(n for n, choice in enumerate(values.choices) if is_one_of(value, [choice]))


def _scaled(value: float, values: Range) -> float:
    return math.log10(value) if values.log else float(value)


def _bounds(values: Range) -> tuple[float, float]:
    return _scaled(values.low, values), _scaled(values.high, values)


def _unseen_r2(
    trials: Sequence[Trial], objective: str, names: Sequence[str], space: Space, seed: int
) -> float:
    """Return R² on trials that the trees of a forest like that of `_fanova` have not seen."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    columns: list[list[float]] = []
    for name in names:
        values, numbers = space[name], _numbers(trials, name, space)
        if isinstance(values, Choices):
            places = range(len(values.choices))
            columns += [[float(number == place) for number in numbers] for place in places]
        else:
            columns.append(numbers)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=seed)
    forest.fit(np.array(columns).T, [trial.first[objective] for trial in trials])
    return float(forest.oob_score_)


def _fanova(
    trials: Sequence[Trial], objective: str, names: Sequence[str], space: Space, seed: int
) -> dict[str, float]:
    """Return the share of the variance for each name, from Optuna."""
    import optuna

    distributions = {name: _distribution(space[name]) for name in names}
    study = memory_study()
    rows = zip(*(_numbers(trials, name, space) for name in names), strict=True)
    for trial, row in zip(trials, rows, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                value=trial.first[objective],
                params=dict(zip(names, row, strict=True)),
                distributions=distributions,
            )
        )
    with warnings.catch_warnings():
        # Optuna calls `normalize` experimental. Normalized shares would hide what is explained by
        # several hyperparameters together.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        shares = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed),
            params=list(names),
            normalize=False,
        )
    return {name: float(share) for name, share in shares.items()}


def _distribution(values: SpaceValues) -> Any:
    import optuna

    if isinstance(values, Choices):
        return optuna.distributions.CategoricalDistribution(range(len(values.choices)))
    return optuna.distributions.FloatDistribution(*_bounds(values))
