"""The trials of a search → the one that training uses, and sentences about it for a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.errors import UserError
from components.evaluation.interval import Interval
from components.params.search import Search
from components.search.confirmation import WRITTEN, choose
from components.search.space import Overrides
from components.search.standings import within
from components.search.trial import Trial


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    trials: all trials, by number; empty if there was no search. number: the trial that training
    uses. overrides: its hyperparameters. sentences: what the report says. metrics: numbers for
    MLflow. means: number of a confirmed trial → the mean of its values on the folds.
    """

    trials: Sequence[Trial]
    number: int
    overrides: Overrides
    sentences: Sequence[str]
    metrics: Mapping[str, float]
    means: Mapping[int, Interval]


NO_SEARCH = Outcome((), 0, {}, (), {}, {})


def choose_trial(
    trials: Sequence[Trial],
    best: Sequence[int],
    search: Search,
    val_to_train: float,
    early_end: str | None = None,
) -> Outcome:
    """Choose the trial that training uses: by its confirmed values, if there are any.

    trials: all trials, by number. best: the numbers of those that are within all costs, the best
    one first. val_to_train: see `components.search.folds.val_to_train`.
    early_end: see `Coordinator.early_end`.

    Raises UserError if no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete and early_end:
        raise UserError(
            "no trial of the search is complete, so there is no best one; run the same command "
            f"again, and the search goes on. Received: {early_end}"
        )
    if not complete:
        raise UserError(
            "no trial of the search is complete; remove from search.space the values with which "
            f"training fails. Received: {len(trials)} failed or pruned trials, such as: "
            f"{trials[-1].note if trials else 'none'}"
        )
    confirmed = {trial.number: trial.confirmed for trial in trials if trial.confirmed}
    found = {trial.number: trial.values[search.quality] for trial in complete}
    means: Mapping[int, Interval] = {}
    if confirmed:
        epochs = {trial.number: trial.epochs for trial in complete}
        direction = search.directions[search.quality]
        choice = choose(confirmed, found, val_to_train, direction, epochs)
        number, sentences, means = choice.number, list(choice.sentences), choice.means
        metrics = {f"confirmed_{search.quality}": choice.mean}
    elif best:
        number, metrics = best[0], {}
        written = "the params as written (trial 0), the best of all trials"
        other = f"trial {number}, which no further trainings have confirmed"
        sentences = [f"training uses {other if number else written}"]
    else:
        number, metrics = WRITTEN, {}
        sentences = [
            "no complete trial is within search.within "
            f"({', '.join(f'{name}: {most:g}' for name, most in search.within.items())}); "
            "training uses the params as written"
        ]
    # Trial 0 is missing if its worker died just before the search ended early.
    unfinished = Trial(WRITTEN, "failed", {})
    chosen = next((trial for trial in trials if trial.number == number), unfinished)
    if number in found:
        metrics |= {search.quality: found[number]}
    if search.within and not within(chosen, search.within):
        sentences.append(f"trial {number}, the params as written, is not within search.within")
    if early_end:
        sentences.insert(0, early_end)
    return Outcome(trials, number, chosen.overrides, sentences, metrics, means)
