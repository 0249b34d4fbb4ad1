"""A case → the results of a part of the benchmark: those that are not in the file yet.

Each part is a function that takes a case and the file of the results. A result has the keys data,
seed, recipe (the part), change (what of it), kind (`ours`, or the name of a peer), and params, a
hash of everything that decides it. Parts with equal searches, such as ours beside each peer, share
the result.
"""

import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from components.model.backend import load_keras
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from components.registry.weights import resolve_weights
from components.search.space import Overrides
from components.training.limits import TrainingFailedError
from components.training.starts import Backbones
from components.training.training import train_classifier
from pipelines import artifacts
from pipelines.search_worker import HEAD_ONLY
from pipelines.training_data import read_training_data
from tests.benchmarks.recipes.results import Result, Results, circumstances
from tests.benchmarks.search.cases import Case
from tests.benchmarks.search.peers import check_peer, run_peer
from tests.benchmarks.search.searches import best_so_far, run_search
from tests.benchmarks.search.workspaces import workspace

DISTRIBUTIONS = {"optuna": "optuna", "kerastuner": "keras-tuner"}  # the package of each peer
# The sections that decide a search; the data are the same for all of them.
DECIDING = ("prepare", "balance", "model", "train", "search")


@dataclass(frozen=True)
class Maker:
    """Makes the results of a part, each one once.

    part: its name.
    """

    case: Case
    results: Results
    part: str

    def key(
        self, change: str, params: Params, kind: str, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the keys of a result; for the arguments see `result`."""
        return {
            "data": f"{self.case.data.name}-{params.prepare.size}",
            "seed": self.case.seed,
            "kind": kind,
            "params": digest(params, settings),
            "recipe": self.part,
            "change": change,
        }

    def result(
        self,
        change: str,
        params: Params,
        make: Callable[[], Result],
        kind: str = "ours",
        **settings: Any,
    ) -> Result:
        """Return a result from the file, or call `make` in a workspace and write what it returns.

        change: what of the part. settings: what decides the result beside the params.
        """
        key = self.key(change, params, kind, settings)
        if (known := self.results.find(key)) is not None:
            return known
        print(f"{key['data']}, seed {self.case.seed}, {self.part}, {change}: ", end="", flush=True)
        with workspace(self.case, params):
            begun = time.monotonic()
            result = {**key, **settings, **make(), **circumstances()}
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
        self.results.add(result)
        return result

    def search(
        self, change: str, params: Params, workers: int, core: int | None = None, **more: Any
    ) -> Result:
        """Return what was measured of one of our searches. more: other settings to be written."""

        def make() -> Result:
            return run_search(workers, core)

        return self.result(change, params, make, workers=workers, held=core is not None, **more)

    def trainings(self, change: str, params: Params, runs: Sequence[Overrides]) -> Result:
        """Return the seconds and the values of trainings in this process, without a search."""

        def make() -> Result:
            found = list(map(Bare(params).train, runs))
            return {"seconds": [seconds for seconds, _ in found], "values": [v for _, v in found]}

        return self.result(change, params, make, bare=list(runs))


class Bare:
    """Trains as a worker of the search does it, with nothing around the training.

    It must be made in a workspace. As in a worker, heads share a backbone, and the objects of
    TensorFlow are no garbage.
    """

    def __init__(self, params: Params) -> None:
        load_keras(params.train.threads)
        gc.freeze()
        self._backbones = Backbones()
        self._params, self._data = params, read_training_data()
        self._weights = resolve_weights(params.model)

    def train(self, overrides: Overrides) -> tuple[float, float | None]:
        """Return the seconds of a training, and its value; None if it has failed."""
        written = Hyperparameters(model=self._params.model, train=self._params.train)
        hyperparameters = written.with_overrides(overrides)
        if self._params.search.first_rung == "head":
            hyperparameters = hyperparameters.with_overrides(HEAD_ONLY)
        value = None
        begun = time.perf_counter()
        try:
            trained = train_classifier(
                hyperparameters,
                self._data,
                self._weights,
                lambda row: None,
                artifacts.STATE / "features",
                backbones=self._backbones,
            )
            value = float(trained.best[self._params.search.quality])
        except TrainingFailedError:
            pass  # as in a search, only this training fails
        return round(time.perf_counter() - begun, 3), value


def digest(params: Params, settings: Mapping[str, Any]) -> str:
    """Return a hash (12 hex digits) of what decides a result."""
    sections = {name: params.section(name).model_dump(mode="json") for name in DECIDING}
    text = json.dumps([sections, dict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def naive(case: Case, results: Results) -> None:
    """Our search with two workers beside Optuna, as its example for Keras does it."""
    rivalry(Maker(case, results, "naive"), "optuna")


def kerastuner(case: Case, results: Results) -> None:
    """Our search with two workers beside KerasTuner's Hyperband."""
    rivalry(Maker(case, results, "kerastuner"), "kerastuner")


def rivalry(maker: Maker, peer: str) -> None:
    """Both searches have the same images, splits, space, metric, seconds and cores."""
    case = maker.case
    check_peer(peer)
    params, budget_s = case.rivalry(), case.budget_s

    def search() -> Result:
        found = run_search(workers=2)
        trials = found.pop("trials")
        failed = sum(trial["state"] == "failed" for trial in trials)
        return {**found, "failed_trials": failed, "events": best_so_far(trials, budget_s)}

    def search_of_peer() -> Result:
        events = run_peer(peer, case.peer_epochs, case.sizes.most, budget_s)
        return {"version": version(DISTRIBUTIONS[peer]), "events": events}

    maker.result("ours", params, search, workers=2, budget_s=budget_s)
    maker.result(peer, params, search_of_peer, peer, epochs=case.peer_epochs, budget_s=budget_s)


def workers(case: Case, results: Results) -> None:
    """The same search of heads by one worker on one core, and by two on two cores."""
    maker, params = Maker(case, results, "workers"), case.heads(case.sizes.workers)
    core = min(os.sched_getaffinity(0))
    maker.search("1 worker on one core", params, 1, core, begin=case.sizes.begin)
    maker.search("2 workers on two cores", params, 2, begin=case.sizes.begin)


def overhead(case: Case, results: Results) -> None:
    """Searches with one worker, their trials without a search, and the memory of many trials."""
    maker, sizes = Maker(case, results, "overhead"), case.sizes
    for change, params, again in (
        ("heads", case.heads(sizes.heads), sizes.again),
        ("finetunes", case.finetunes(), sizes.finetunes - 1),
    ):
        found = maker.search(change, params, 1)
        trials = sorted(found["trials"], key=lambda trial: trial["number"])
        # The first training starts Keras and computes the features, so it does not count.
        runs = [trial["overrides"] for trial in trials[: again + 1]]
        maker.trainings(f"{change} without a search", params, runs)
    maker.search("few heads", case.heads(sizes.few), 1)


def pruning(case: Case, results: Results) -> None:
    """Trials that the median rule has stopped, trained to their end; the best ones first.

    The best trial is trained again with other seeds: how much its value varies is how much better a
    stopped trial may look by chance.
    """
    maker, sizes, params = Maker(case, results, "pruning"), case.sizes, case.pruning()
    trials = maker.search("search", params, 2)["trials"]
    stopped = [trial for trial in trials if trial["state"] == "pruned"]
    stopped.sort(key=lambda trial: trial["value"], reverse=True)
    for trial in stopped[: sizes.pruned]:
        maker.trainings(f"trial {trial['number']}", params, [trial["overrides"]])
    winner = best_trial(trials)
    for number in range(1, sizes.seeds + 1):
        overrides = {**winner["overrides"], "train.seed": case.seed + number}
        maker.trainings(f"best trial, seed {case.seed + number}", params, [overrides])


def best_trial(trials: Sequence[Result]) -> Result:
    """Return the complete trial with the highest value; of equal ones that with the lowest number.

    >>> trials = [{"number": 1, "state": "complete", "value": 0.5}]
    >>> trials += [{"number": 0, "state": "complete", "value": 0.5}]
    >>> trials += [{"number": 2, "state": "pruned", "value": 0.6}]
    >>> best_trial(trials)["number"]
    0
    """
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda trial: (trial["value"], -trial["number"]))


PARTS = {
    "naive": naive,
    "kerastuner": kerastuner,
    "workers": workers,
    "overhead": overhead,
    "pruning": pruning,
}
