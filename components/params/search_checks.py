"""search.space and search.start → nothing, or one sentence about what is wrong with them.

What is checked: trials that Optuna could choose. For each rule, they are all combinations of the
values of the hyperparameters that the rule is about, and of those in their conditions. All other
hyperparameters of the space have one value. So a rule that holds here holds in every trial:

- A rule about one number is a minimum or a maximum. A rule about several numbers only asks whether
  a float is at such an end, or has a minimum for it. So the ends of a range of floats stand for all
  of its numbers.
- Integers, numbers with a step and choices are all tried, and every trial that is tried is
  possible, so no space is refused for a combination that conditions rule out.

Limit: if a rule has more than MOST_TRIALS combinations, not all of them are tried, but at most
MOST_TRIALS with the ends of each range, and MOST_TRIALS at random, the same ones each time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError
from itertools import islice
from math import prod
from random import Random
from typing import Any

from components.errors import UserError
from components.params.hyperparameters import RULED_TOGETHER, Hyperparameters
from components.params.search import (
    Choices,
    Search,
    Space,
    SpaceValues,
    finite_values,
    is_chosen,
    is_inside,
    is_one_of,
    suggestion_order,
)
from components.params.sentences import in_yaml, nearest

MOST_TRIALS = 10_000
# Optuna stores integers as float64, which has all integers up to this one.
LARGEST = 2**53

Check = Callable[[Hyperparameters], None]
Trial = dict[str, Any]


def check_search(search: Search, written: Hyperparameters, check: Check) -> None:
    """Raise ValueError, with one sentence, if a trial would break a rule.

    written: the hyperparameters in params.yaml. check: raises ValueError if the hyperparameters of
    a trial break a rule that is about other sections, too.
    """
    space = search.space
    try:
        for name, values in space.items():
            written.check_name(name)
            _check_integers(name, values, written.value(name))
    except UserError as error:
        raise ValueError(f"search.space: {error}") from None
    _check_conditions(space, written)
    tried = [
        with_conditions(names, space) for names in [*([name] for name in space), *_rules(space)]
    ]
    for names in dict.fromkeys(tried):
        for trial in trials_to_check(space, written, names):
            try:
                check(written.with_overrides(trial))
            except (UserError, ValueError) as error:
                raise ValueError(f"search.space: {error}") from None
    for number, point in enumerate(search.start, start=1):
        _check_point(f"search.start: point {number}", point, space, written)


def trials_to_check(
    space: Space, written: Hyperparameters, names: Sequence[str]
) -> Iterator[Trial]:
    """Yield trials that have all combinations of the values of `names`, see above.

    names: hyperparameters of the space, with those in their conditions. All others have their first
    value. A trial has no value of a hyperparameter whose condition does not hold.
    """
    values = {name: _values(space[name], written.value(name)) for name in space}
    values = {name: tried if name in names else tried[:1] for name, tried in values.items()}
    order = suggestion_order(space)
    if prod(map(len, values.values())) <= MOST_TRIALS:
        yield from combinations(space, order, values)
        return
    ends = {
        name: tried if isinstance(space[name], Choices) else (tried[0], tried[-1])
        for name, tried in values.items()
    }
    yield from islice(combinations(space, order, ends), MOST_TRIALS)
    random = Random(0)
    for _ in range(MOST_TRIALS):
        drawn = {name: [random.choice(tried)] for name, tried in values.items()}
        yield from combinations(space, order, drawn)


def with_conditions(names: Iterable[str], space: Space) -> tuple[str, ...]:
    """Return the names, and all names that decide whether a trial chooses them, sorted."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += space[name].when
    return tuple(sorted(found))


def combinations(
    space: Space, order: Sequence[str], values: Mapping[str, Sequence[Any]]
) -> Iterator[Trial]:
    """Yield all trials that the conditions allow. order: `suggestion_order`. values: to try."""
    trials: Iterator[Trial] = iter([{}])
    for name in order:
        trials = _with_values(trials, name, space[name], values[name])
    return trials


def _with_values(
    trials: Iterator[Trial], name: str, values: SpaceValues, tried: Sequence[Any]
) -> Iterator[Trial]:
    for trial in trials:
        if is_chosen(values, trial):
            yield from ({**trial, name: value} for value in tried)
        else:
            yield trial


def _values(values: SpaceValues, written: object) -> Sequence[Any]:
    """Return all values of an entry of the space, or the ends of a range of floats."""
    if isinstance(values, Choices):
        return values.choices
    finite = finite_values(values, written)
    return (values.low, values.high) if finite is None else finite


def _rules(space: Space) -> list[list[str]]:
    """Return the hyperparameters of the space that each rule is about together."""
    return [[name for name in rule if name in space] for rule in RULED_TOGETHER]


def _check_integers(name: str, values: SpaceValues, written: object) -> None:
    """Raise ValueError if a range of integers has another number."""
    if isinstance(values, Choices) or isinstance(written, bool) or not isinstance(written, int):
        return
    for key in ("low", "high", "step"):
        number = getattr(values, key)
        place = f"search.space.{name}.{key}"
        if not isinstance(number, int):
            advice = int(number) if number.is_integer() else "an integer, or use choices"
            raise ValueError(
                f"{place} should be a valid integer, because {name} is one; write {advice}. "
                f"Received: {number}"
            )
        if abs(number) > LARGEST:
            raise ValueError(f"{place} should be at most {LARGEST}; write less. Received: {number}")


def _check_conditions(space: Space, written: Hyperparameters) -> None:
    """Raise ValueError if a condition `when` can never hold, always holds, or waits for itself."""
    for name, values in space.items():
        for other, wanted in values.when.items():
            if problem := _problem(other, wanted, space, written):
                received = in_yaml({other: wanted})
                raise ValueError(f"search.space.{name}.when {problem}. Received: {received}")
    try:
        suggestion_order(space)
    except CycleError as error:
        *names, _ = error.args[1]
        raise ValueError(
            "search.space: no trial could choose these values, because their conditions `when` "
            f"wait for each other; remove one of the conditions. Received: {', '.join(names)}"
        ) from None
    for name, values in space.items():
        if contradicted := _contradiction(name, space):
            raise ValueError(
                f"search.space.{name}.when never holds, because it and the conditions of the names "
                f"in it leave no value of {contradicted}; correct one of them. "
                f"Received: {in_yaml(values.when)}"
            )


def _problem(
    other: str, wanted: Sequence[object], space: Space, written: Hyperparameters
) -> str | None:
    """Return what is wrong with one name of a condition and its values."""
    if other not in space:
        near = nearest(other, list(space), f"add {other} to the space, or remove the condition")
        return f"never holds, because {other} is not in the search space; {near}"
    possible = finite_values(space[other], written.value(other))
    if possible is None:
        return (
            f"never holds but by chance, because {other} can be every number of a range; give "
            f"{other} a step or choices"
        )
    for value in wanted:
        if not is_inside(value, space[other], written.value(other)):
            return (
                f"never holds with {in_yaml(value)}, because this is no value of {other} in the "
                "search space; write values that it can have"
            )
    # If `other` has a condition, naming all of its values means: whenever a trial chooses it.
    always = len(possible) <= len(wanted) and all(is_one_of(value, wanted) for value in possible)
    if always and not space[other].when:
        return f"always holds, because these are all values of {other}; remove the condition"
    return None


def _contradiction(name: str, space: Space) -> str | None:
    """Return a hyperparameter of which the conditions of a name and of its names leave no value."""
    left: dict[str, list[object]] = {}
    for each in with_conditions([name], space):
        for other, wanted in space[each].when.items():
            left[other] = [value for value in left.get(other, wanted) if is_one_of(value, wanted)]
    return next((other for other, values in left.items() if not values), None)


def _check_point(
    place: str, point: Mapping[str, Any], space: Space, written: Hyperparameters
) -> None:
    """Raise ValueError if a point of `search.start` is not in the space."""
    received = f"Received: {in_yaml(point)}"
    for name in point:
        if name not in space:
            near = nearest(name, list(space), "remove it, or add it to search.space")
            raise ValueError(f"{place}: {name} is not in search.space; {near}. {received}")
    chosen: Trial = {}
    for name in suggestion_order(space):
        if not is_chosen(space[name], chosen):
            if name in point:
                raise ValueError(
                    f"{place}: the condition `when` of {name} does not hold; remove {name} from "
                    f"the point. {received}"
                )
        elif name not in point:
            raise ValueError(f"{place} has no value of {name}; add one. {received}")
        elif not is_inside(point[name], space[name], written.value(name)):
            raise ValueError(
                f"{place}: the value of {name} is not in search.space; change the value, or the "
                f"space. {received}"
            )
        else:
            chosen[name] = point[name]
    try:
        written.with_overrides(point)
    except UserError as error:
        raise ValueError(f"{place}: {error}") from None
