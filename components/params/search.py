"""Section `search`: the Optuna study that chooses hyperparameters.

A study consists of trials. A trial is one training with values that Optuna chooses.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from components.params.section import Count, Positive, Section, require

Value = str | int | float | bool
When = Annotated[
    dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]],
    Field(
        min_length=1,
        description="dotted name of another hyperparameter of the space → values; only trials in "
        "which the other one has been chosen, and has one of these values, choose a value of this "
        "one; all other trials use its value in params.yaml",
    ),
]
MOST_STEPS = 10_000
KEEP_ROUNDING = 0.005  # `search.keep` may be written with two decimals


class Choices(Section):
    """The values of one hyperparameter that a search may try, as a list."""

    choices: tuple[Value, ...] = Field(min_length=1)
    when: When = Field(default_factory=dict)  # left out: every trial chooses a value

    @model_validator(mode="after")
    def _check_choices(self) -> "Choices":
        choices = self.choices
        again = [value for n, value in enumerate(choices) if is_one_of(value, choices[:n])]
        require(self, not again, "a value is written twice in `choices`; remove one of the two")
        rule = (
            "one value only is no choice; add another value, or write the value into its section "
            "and remove this key"
        )
        return require(self, len(choices) > 1, rule)


class Range(Section):
    """The values of one hyperparameter that a search may try: all numbers from low to high.

    The range includes the numbers low and high. With a step, it has only the numbers low,
    low + step, low + 2 * step, …, high.
    """

    low: int | float
    high: int | float
    log: bool = Field(description="true: search on a logarithmic scale")
    step: Annotated[int | float, Field(gt=0)] = Field(
        default=0, description="distance between two values; left out: no step"
    )
    when: When = Field(default_factory=dict)  # left out: every trial chooses a value

    @model_validator(mode="after")
    def _check_bounds(self) -> "Range":
        require(self, self.low < self.high, "low must be below high")
        rule = "low must be above 0 if log is true"
        return require(self, not self.log or self.low > 0, rule)

    @model_validator(mode="after")
    def _check_step(self) -> "Range":
        if not self.step:
            return self
        rule = "a logarithmic scale has no step; remove `step`, or write `log: false`"
        require(self, not self.log, rule)
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        rule = "step must be at most high - low; write a smaller step"
        require(self, step <= high - low, rule)
        rule = f"step gives more than {MOST_STEPS} values; write a larger step, or remove `step`"
        require(self, (high - low) / step < MOST_STEPS, rule)
        steps = (high - low) // step
        last = f"{(low + steps * step).normalize():f}"
        rule = (
            f"step must divide high - low, because the last value would be {last}; write "
            f"`high: {last}`, or another step"
        )
        return require(self, low + steps * step == high, rule)


def _kind(values: Any) -> str:
    """Return "a range" if `values` has the key `low` or `high`, otherwise "a list".

    pydantic calls this function to choose one class: Range for "a range", and Choices for "a list".
    Only the chosen class checks `values`. So a user sees no errors from the other class.

    values: an entry of `search.space`. The entry is a dict if it was read from params.yaml.
    Otherwise the entry is an object of the class Range or Choices.
    """
    given = values if isinstance(values, dict) else getattr(values, "__dict__", {})
    return "a range" if "low" in given or "high" in given else "a list"


SpaceValues = Annotated[
    Annotated[Choices, Tag("a list")] | Annotated[Range, Tag("a range")], Discriminator(_kind)
]
Space = Mapping[str, SpaceValues]


Quality = Literal["val_macro_f1", "val_balanced_accuracy", "val_accuracy", "val_loss"]
Cost = Literal["multiply_adds", "bytes", "latency_ms"]
# A first rung that trains only the head, and one that trains as the stage `train` does.
HEAD, ALL = "head", "all"


def _form_of_rung(value: Any) -> str:
    """Return the form of `search.first_rung`, the tag of one of its types."""
    return "name" if isinstance(value, str) else "number"


FirstRung = Annotated[
    Annotated[Literal["head", "all"], Tag("name")] | Annotated[Positive, Tag("number")],
    Discriminator(_form_of_rung),
]


class Confirm(Section):
    """How the best trials are confirmed, so that no trial wins by luck."""

    trials: Count = Field(
        description="number of the best trials that are trained again, beside the values in "
        "params.yaml; 0: the best trial is taken at its word"
    )
    folds: Annotated[int, Field(ge=2, le=20)] = Field(
        description="number of trainings of each of them; every time with other images in val"
    )


class Search(Section):
    """The Optuna study that chooses hyperparameters before training.

    Trial 0 uses the values in params.yaml. The trials after it use the points of `start`.
    """

    trials: Count = Field(
        description="number of trials; 0: no search, all values are from params.yaml"
    )
    minutes: Annotated[float, Field(ge=0)] = Field(
        description="no trial starts after this time; 0.0: no limit. With a limit, a faster "
        "machine may find other values"
    )
    objectives: tuple[Quality | Cost, ...] = Field(
        min_length=1,
        description="the metric of val that becomes as good as possible, then the costs that "
        "become as small as possible, if any: multiply_adds, bytes, latency_ms",
    )
    within: dict[str, Annotated[float, Field(gt=0)]] = Field(
        description="cost of `objectives` → its maximum; the best trial within all is chosen"
    )
    sampler: Literal["tpe", "cmaes", "nsga2", "random", "grid"]
    startup_trials: Positive = Field(
        description="number of trials with random values before the sampler learns from results"
    )
    first_rung: FirstRung = Field(
        description="what every trial trains: head (only the phase `head`), a number of epochs of "
        "the phase `finetune`, or all (as the stage `train`)"
    )
    finalists: Count = Field(
        description="number of the best trials of the first rung that go on to their last epoch"
    )
    keep: Annotated[float, Field(gt=0, le=0.5)] = Field(
        description="share of the finalists that goes on after each round; the shorter the rounds, "
        "the smaller it is: with 0.5, the last round has all epochs, the one before it half of them"
    )
    pruner: Literal["none", "median"] = Field(
        description="median: a trial stops if it is below the median of earlier trials at the same "
        "epoch; only if first_rung is `all`"
    )
    confirm: Confirm
    start: tuple[dict[str, Value], ...] = Field(
        description="points of the space that the first trials try, after the values in "
        "params.yaml; a point is a dotted name → a value, for each hyperparameter of the space"
    )
    space: dict[str, SpaceValues] = Field(
        description="dotted name of a hyperparameter → the values to try"
    )

    @property
    def quality(self) -> str:
        """Return the metric of val that becomes as good as possible."""
        return self.objectives[0]

    @property
    def costs(self) -> tuple[str, ...]:
        """Return what becomes as small as possible."""
        return self.objectives[1:]

    @property
    def directions(self) -> dict[str, Literal["maximize", "minimize"]]:
        """Return `maximize` or `minimize` for each objective."""
        small = {"val_loss", *self.costs}
        return {name: "minimize" if name in small else "maximize" for name in self.objectives}

    @property
    def eta(self) -> int:
        """Return by how much the number of finalists is divided after each round."""
        return round(1 / self.keep)

    @model_validator(mode="after")
    def _check_objectives(self) -> "Search":
        rule = (
            "search.objectives: the first one is a metric of val, and all others are costs, each "
            f"written once. Received: {', '.join(self.objectives)}"
        )
        first, *rest = (name.startswith("val_") for name in self.objectives)
        once = len(set(self.objectives)) == len(self.objectives)
        require(self, first and not any(rest) and once, rule)
        foreign = [name for name in self.within if name not in self.costs]
        rule = (
            "search.within: a maximum needs a cost of search.objectives; add it there, or remove "
            f"it here. Received: {', '.join(foreign)}"
        )
        return require(self, not foreign, rule)

    @model_validator(mode="after")
    def _check_sampler(self) -> "Search":
        several = len(self.objectives) > 1
        rule = (
            f"search.sampler: {self.sampler} needs "
            f"{'one objective' if several else 'several objectives'}; use tpe, or change "
            f"search.objectives. Received: {self.sampler}, {', '.join(self.objectives)}"
        )
        require(self, self.sampler != ("cmaes" if several else "nsga2"), rule)
        unsuited = [
            name
            for name, values in self.space.items()
            if isinstance(values, Choices) or values.when
        ]
        rule = (
            "search.sampler: cmaes chooses numbers of ranges without conditions; use tpe, or write "
            f"a range. Received: {', '.join(unsuited)}"
        )
        return require(self, self.sampler != "cmaes" or not unsuited, rule)

    @model_validator(mode="after")
    def _check_rungs(self) -> "Search":
        rule = (
            "search.finalists: with `first_rung: all`, every trial has come to its end already; "
            f"write `finalists: 0`, or another first_rung. Received: {self.finalists}"
        )
        require(self, self.first_rung != ALL or not self.finalists, rule)
        rule = (
            "search.keep: after each round, the number of finalists is divided by a whole number; "
            f"write 0.5, 0.33, 0.25 or 0.2. Received: {self.keep}"
        )
        require(self, abs(self.keep - 1 / self.eta) < KEEP_ROUNDING, rule)
        rule = (
            "search.pruner: a pruner stops trials that train to their end; write `pruner: none`, "
            f"or `first_rung: all`. Received: {self.pruner}, first_rung: {self.first_rung}"
        )
        require(self, self.first_rung == ALL or self.pruner == "none", rule)
        rule = (
            "search.pruner: trials with several objectives are never stopped; write "
            f"`pruner: none`. Received: {self.pruner}, {', '.join(self.objectives)}"
        )
        return require(self, self.pruner == "none" or len(self.objectives) == 1, rule)


def check_old_keys(tree: Any) -> None:
    """Raise ValueError if `search` has a key of older files; the sentence has the new form.

    tree: the content of params.yaml.
    """
    search = tree.get("search") if isinstance(tree, dict) else None
    if not isinstance(search, dict):
        return
    if "maximize" in search:
        metric = search["maximize"]
        raise ValueError(
            f"`search.maximize` is now `search.objectives`: write `objectives: [{metric}]` instead "
            f"of `maximize: {metric}`. Received: maximize: {metric}"
        )
    if "epochs" in search:
        epochs = search["epochs"]
        raise ValueError(
            "`search.epochs` is now `search.first_rung`: remove the line, and write "
            "`first_rung: all`, or a number of epochs after which only the best trials go on. "
            f"Received: epochs: {epochs}"
        )


def suggestion_order(space: Space) -> list[str]:
    """Return the names of the space in the order in which a trial chooses their values.

    First come the names without a condition, then those with conditions about them, and so on; each
    of these groups is sorted. So the order does not depend on the lines of params.yaml. Raises
    graphlib.CycleError if names wait for each other.

    >>> when = {"model.pooling": ("gem",)}
    >>> values = {"choices": (0.1, 0.2)}
    >>> suggestion_order({"model.l1": Choices(**values, when=when), "model.l2": Choices(**values),
    ...                   "model.pooling": Choices(choices=("avg", "gem"))})
    ['model.l2', 'model.pooling', 'model.l1']
    """
    sorter = TopologicalSorter({name: values.when for name, values in space.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def is_chosen(values: SpaceValues, chosen: Mapping[str, object]) -> bool:
    """Return whether a trial chooses one of `values`, because their condition `when` holds.

    chosen: the values that the trial has chosen until now, by the order of `suggestion_order`. A
    name that the trial has not chosen has none of the values of a condition.
    """
    return all(
        name in chosen and is_one_of(chosen[name], wanted) for name, wanted in values.when.items()
    )


def is_one_of(value: object, values: Iterable[object]) -> bool:
    """Return whether a value is among others. Unlike in Python, true is not the number 1."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


def finite_values(values: SpaceValues, written: object) -> Sequence[Any] | None:
    """Return all values that a trial may choose, or None if they are all numbers of a range.

    written: the value of the hyperparameter in params.yaml. If it is an integer, the values of a
    range are integers, also without a step.

    >>> finite_values(Range(low=0.1, high=0.5, log=False, step=0.2), 0.0)
    (0.1, 0.3, 0.5)
    """
    if isinstance(values, Choices):
        return values.choices
    if isinstance(written, int):
        return range(int(values.low), int(values.high) + 1, int(values.step or 1))
    if not values.step:
        return None
    # Sums of floats would give 0.30000000000000004, which equals no number that a user writes.
    low, high, step = (Decimal(str(number)) for number in (values.low, values.high, values.step))
    return tuple(float(low + number * step) for number in range(int((high - low) / step) + 1))


def is_inside(value: object, values: SpaceValues, written: object) -> bool:
    """Return whether a trial may choose `value`. For `written`, see `finite_values`."""
    if isinstance(values, Choices):
        return is_one_of(value, values.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    finite = finite_values(values, written)
    return bool(values.low <= value <= values.high) if finite is None else value in finite
