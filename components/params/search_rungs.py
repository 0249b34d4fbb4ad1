"""search, model, train → what the first rung of a search reaches, and whether it can be run.

A rung is a part of a search, see docs/search.md. A first rung that trains only the head does not
reach the hyperparameters of fine-tuning: its results say nothing about them.
"""

from itertools import islice

from components.params.hyperparameters import Hyperparameters
from components.params.search import HEAD, Range, Search, Space, finite_values, suggestion_order
from components.params.search_checks import combinations, trials_to_check, with_conditions

# What only the phase `finetune` reads. The random changes of images are also read by the phase
# `head` if it has views of the images.
LATER = ("train.finetune.", "train.mixup", "train.cutmix", "train.mix_until", "train.average.soup")
CHANGES, VIEWS = "train.augmentation", "train.head.views"
# A grid with more points is a mistake: no search tries them all.
GRID_LIMIT = 10_000


def reached(search: Search, written: Hyperparameters) -> tuple[str, ...]:
    """Return the names of the search space that change the result of the first rung.

    A name that the condition of such a name asks for is one, too. written: the hyperparameters in
    params.yaml.
    """
    space = search.space
    if search.first_rung != HEAD:
        return with_conditions(space, space)
    views = VIEWS in space or written.train.head.views
    later = LATER if views else (*LATER, CHANGES)
    return with_conditions([name for name in space if not name.startswith(later)], space)


def check_rungs(search: Search, written: Hyperparameters) -> None:
    """Raise ValueError, with one sentence, if the trials of a search would have nothing to do.

    search: its space is checked already. written: the hyperparameters in params.yaml.
    """
    if not search.trials:
        return
    if not search.space:
        raise ValueError(
            "search.space: it is empty, so all trials would train the same values; add a "
            f"hyperparameter, or write `trials: 0`. Received: trials: {search.trials}"
        )
    if search.first_rung == HEAD:
        _check_head(search.space, written)
    if search.sampler == "grid":
        _check_grid(search, written)


def _check_head(space: Space, written: Hyperparameters) -> None:
    """Raise ValueError if a trial has no phase `head`."""
    deciding = [name for name in ("model.weights", "train.head.epochs") if name in space]
    for trial in ({}, *trials_to_check(space, written, with_conditions(deciding, space))):
        tried = written.with_overrides(trial)
        epochs, weights = tried.train.head.epochs, tried.model.weights
        if not epochs or not tried.model.pretrained:
            raise ValueError(
                "search.first_rung: head trains only the phase `head`, which needs epochs and "
                "weights; write a number of epochs of the phase `finetune`, such as 2, or all. "
                f"Received: head, train.head.epochs: {epochs}, model.weights: {weights}"
            )


def _check_grid(search: Search, written: Hyperparameters) -> None:
    """Raise ValueError if the sampler `grid` cannot list its points, those of the first rung."""
    space = {name: search.space[name] for name in reached(search, written)}
    values = {}
    for name, tried in space.items():
        finite = finite_values(tried, written.value(name))
        if finite is None and isinstance(tried, Range):
            raise ValueError(
                f"search.space.{name}: a grid needs choices or a step, because a range of floats "
                "has no end of values; add one, or use another sampler. "
                f"Received: {tried.low} to {tried.high}"
            )
        values[name] = finite or ()
    points = combinations(space, suggestion_order(space), values)
    if next(islice(points, GRID_LIMIT, None), None) is not None:
        raise ValueError(
            "search.sampler: the space has too many points for a grid; use tpe or random, or fewer "
            f"choices. Received: grid, and more than {GRID_LIMIT:,} points"
        )
