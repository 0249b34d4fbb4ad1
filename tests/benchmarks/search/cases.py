"""A part of the benchmark → the params of its search, and how many trials it has.

Every search is of the card `standard`: MobileNetV2 0.35 with ImageNet's weights, at 224 pixels. In
the part `pruning` it has fewer pixels and epochs, as the trials are whole trainings. The best epoch
of a training is the one with the best macro F1 on val, for us and for all peers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.params.reader import Params
from tests.benchmarks.recipes.cards import card_params
from tests.benchmarks.recipes.sets import DataSet
from tests.benchmarks.recipes.synthetic import QUICK

Changes = Mapping[str, Any]

# A file that `workspaces.workspace` writes for --quick: a head needs a backbone with weights.
QUICK_WEIGHTS = "data/weights/quick.keras"
SMALL = {
    **QUICK,
    "model.weights": QUICK_WEIGHTS,
    "train.head.epochs": 2,
    "train.finetune.epochs": 2,
}
ALWAYS = {
    "train.early_stopping.monitor": "val_macro_f1",
    "search.finalists": 0,
    "search.confirm": {"trials": 0, "folds": 2},
}
# What decides about a head and can be tried by us, by Optuna and by KerasTuner.
HEAD: Changes = {
    "search.first_rung": "head",
    "model.l2": 1e-6,  # the space must contain the values of the card
    "search.space": {
        "train.head.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
        "train.weight_decay": {"low": 1e-5, "high": 0.1, "log": True},
        "train.label_smoothing": {"low": 0.0, "high": 0.3, "log": False},
        "model.dropout": {"low": 0.0, "high": 0.6, "log": False},
        "model.l2": {"low": 1e-6, "high": 0.01, "log": True},
    },
}
# Batches of another size take another time, so only the parts with a peer try them.
BATCHES = {"train.batch_size": {"choices": [32, 64, 128]}}
RIVALRY: Changes = {**HEAD, "search.space": {**HEAD["search.space"], **BATCHES}}
# The space of the card.
FINETUNE: Changes = {"search.first_rung": "all"}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    most: trials that a search with a budget may finish. workers: trials of each search of the part
    `workers`, of which the first `begin` do not count. heads, few: trials of the two searches of
    heads of the part `overhead`, of which `again` heads are trained again without a search.
    finetunes: trials of its search with fine-tuning, for so many `epochs`. pruning: trials of the
    search with the pruner, of which `pruned` are trained to their end, and the best one with
    `seeds` other seeds. startup: complete trials before the pruner stops any.
    """

    most: int = 2000
    workers: int = 70
    begin: int = 10
    heads: int = 100
    few: int = 5
    again: int = 20
    finetunes: int = 6
    epochs: int = 4
    pruning: int = 32
    pruned: int = 5
    seeds: int = 5
    startup: int = 5


QUICK_SIZES = Sizes(
    most=3,
    workers=4,
    begin=1,
    heads=4,
    few=2,
    again=2,
    finetunes=3,
    epochs=1,
    pruning=14,
    pruned=1,
    seeds=2,
    startup=1,
)


@dataclass(frozen=True)
class Case:
    """Images and a seed on which the parts are measured.

    work: the folder for pixels. seed: of the split, and of all trainings and samplers. budget_s:
    the seconds of a search beside a peer. peer_epochs: epochs of a trial of a peer.
    """

    data: DataSet
    work: Path
    seed: int
    budget_s: float
    peer_epochs: int
    sizes: Sizes
    quick: bool

    def params(self, changes: Changes, trials: int, minutes: float = 0.0) -> Params:
        """Return the params of a search with so many trials, at most so many minutes long."""
        own = {"train.seed": self.seed, "search.trials": trials, "search.minutes": minutes}
        small = SMALL if self.quick else {}
        return card_params("standard", {**ALWAYS, **small, **changes, **own})

    def rivalry(self) -> Params:
        """Return the params of a search of heads with a budget."""
        return self.params(RIVALRY, self.sizes.most, self.budget_s / 60)

    def heads(self, trials: int) -> Params:
        """Return the params of a search of heads that all take the same time."""
        return self.params(HEAD, trials)

    def finetunes(self) -> Params:
        """Return the params of a search in which each trial is a short training."""
        epochs = {"train.finetune.epochs": self.sizes.epochs}
        return self.params({**FINETUNE, **epochs}, self.sizes.finetunes)

    def pruning(self) -> Params:
        """Return the params of a search whose trials are stopped early by the median rule."""
        # As in the preset `quick`, in an eighth of the time that `standard` needs.
        short = {} if self.quick else {"train.finetune.epochs": 6, "prepare.size": 112}
        rule = {"search.pruner": "median", "search.startup_trials": self.sizes.startup}
        return self.params({**FINETUNE, **short, **rule}, self.sizes.pruning)
