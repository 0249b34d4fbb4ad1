"""python -m tests.benchmarks.recipes PART … : our cards, by what they reach and what they cost.

- `photos`: TrashNet (--trashnet), beside a logistic regression on the same features and Keras
- `few`: the same photographs with 96 pixels on the longer side, 30 of each class for train and val
- `imbalance`: a long-tailed Fashion-MNIST (--fashion), each loss and each strategy of balance
- `fashion`: the whole Fashion-MNIST
- `tables`: only print the tables of --results, and draw its pictures

A result is a line in --results, which is written at once. What is there is not computed again, so a
run may be stopped and goes on later. Start a new file for other code. --set tries the cards with
changed values, too: `--set train.finetune.epochs=30 --set "train.loss=focal train.focal_gamma=1"`.
ImageNet's weights come from KERAS_HOME. --quick runs a part on a few small pictures, in seconds.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params.reader import Params
from components.training.limits import TrainingFailedError
from pipelines import artifacts
from pipelines.formats import read_table
from tests.benchmarks.quiet import start_quietly
from tests.benchmarks.recipes.cards import CARDS, card_params, digest, parse_changes, treatments
from tests.benchmarks.recipes.fits import Fit, fit_keras, fit_logistic, fit_ours, read_test
from tests.benchmarks.recipes.picture import draw
from tests.benchmarks.recipes.results import Result, Results, circumstances, scores
from tests.benchmarks.recipes.sets import DataSet, fashion, photographs, prepared
from tests.benchmarks.recipes.synthetic import QUICK, write_clothes, write_photographs
from tests.benchmarks.recipes.tables import PEERS, tables

PHOTOS = ("before", "standard", "best")
LONGEST = "standard"  # plain Keras gets as many seconds as this card


@dataclass(frozen=True)
class Part:
    """A data set, and what is trained on it, for each of some seeds.

    cards: names of cards. changes: for each card, the changes to try; an empty text is no change.
    always: changes of all cards, such as another size. peers: the peers to compare with.
    """

    data: DataSet
    seeds: Sequence[int]
    cards: Sequence[str]
    changes: Sequence[str]
    peers: Sequence[str]
    always: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the name of the data in the results, with the size if it is not that of a card."""
        size = self.always.get("prepare.size")
        return f"{self.data.name}-{size}" if size else self.data.name


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts asked for, print the tables of all results, and draw them."""
    given = _parse(arguments)
    start_quietly()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if given.quick:
                _make_quick(given, Path(folder))
            results = Results(given.results)
            for name in given.part:
                if name != "tables":
                    run(_part(name, given), given.work.resolve(), results)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(tables(results.lines))
    for name in dict.fromkeys(line["data"] for line in results.lines):
        picture = given.results.with_suffix(f".{name}.svg")
        picture.write_text(draw([line for line in results.lines if line["data"] == name]))
        print(f"picture: {picture}")


def run(part: Part, work: Path, results: Results) -> None:
    """Make the results of a part that are missing. All values are checked before the first."""
    recipes = [
        (card, change, card_params(card, {**part.always, **parse_changes(change)}))
        for card in part.cards
        for change in part.changes
    ]
    for seed in part.seeds:
        for card, change, params in recipes:
            names = {"kind": "ours", "recipe": card, "change": change, "params": digest(params)}
            _result(part, work, results, seed, names, params, fit_ours)
        for peer in part.peers:
            _peer(part, work, results, seed, peer)


def _peer(part: Part, work: Path, results: Results, seed: int, peer: str) -> None:
    """Make the result of a peer. It has the network and the size of the card of before."""
    params = card_params("before", part.always)
    key = {"kind": peer, "recipe": peer, "change": "", "params": digest(params)}
    if peer == "logistic":
        _result(part, work, results, seed, key, params, fit_logistic)
        return
    card = LONGEST if LONGEST in part.cards else part.cards[0]
    ours = card_params(card, part.always)
    known = {"kind": "ours", "recipe": card, "change": "", "params": digest(ours)}
    reference = _result(part, work, results, seed, known, ours, fit_ours)
    if "failed" not in reference:
        key["params"] = f"{digest(params)}-{digest(ours)}"
        fit = partial(fit_keras, budget_s=reference["cpu_s"])
        _result(part, work, results, seed, key, params, fit)


def _result(
    part: Part,
    work: Path,
    results: Results,
    seed: int,
    names: Mapping[str, str],
    params: Params,
    fit: Callable[[Params], Fit],
) -> Result:
    """Return a result from the file, or make it."""
    key = {"data": part.name, "seed": seed, **names}
    if (known := results.find(key)) is not None:
        return known
    print(f"{part.name}, seed {seed}, {names['recipe']} {names['change']}", end=": ", flush=True)
    with chdir(prepared(work, part.data, seed, params.prepare)):
        result = {**key, **_measured(fit, params, part.data.drawn_test), **circumstances()}
    results.add(result)
    print(result.get("failed") or f"macro F1 {result['macro_f1']:.3f}, {result['cpu_s']:.0f} CPU s")
    return result


def _measured(fit: Callable[[Params], Fit], params: Params, drawn_test: bool) -> Result:
    """Return the scores of a fit in the current folder, or why it failed."""
    counts = {name: len(read_table(artifacts.rows(name))) for name in ("train", "val", "test")}
    facts: Result = {f"{name}_images": count for name, count in counts.items()}
    # Test images / train images, of which `few` then uses only a part.
    shares = params.split
    facts["overlap"] = shares.test / (1 - shares.val - shares.test) if drawn_test else 0.0
    try:
        return {**facts, **scores(fit(params), read_test().labels)}
    except TrainingFailedError as error:
        return {**facts, "failed": str(error)}


def _part(name: str, given: argparse.Namespace) -> Part:
    """Return a part by its name, with what the options change."""
    changes = ["", *given.set]
    if name in ("photos", "few"):
        folder = _existing("--trashnet", given.trashnet)
        few = name == "few"
        data = photographs("trashnet_few" if few else "trashnet", folder, few)
        part = Part(data, range(1, 6), PHOTOS, changes, PEERS, {})
    else:
        file = _existing("--fashion", given.fashion)
        if name == "imbalance":
            data = fashion("fashion_long_tailed", file, long_tailed=True)
            part = Part(data, (1, 2, 3), ("compact_small",), [*treatments(), *given.set], (), {})
        else:
            data = fashion("fashion", file, long_tailed=False)
            part = Part(data, (1,), ("compact",), changes, (), {})
    return replace(
        part,
        seeds=given.seeds or part.seeds,
        cards=given.cards or part.cards,
        peers=part.peers if given.peers is None else given.peers,
        always=(QUICK if given.quick else {})
        | ({"prepare.size": given.size} if given.size else {}),
    )


def _existing(option: str, path: Path | None) -> Path:
    if path is None or not path.exists():
        raise UserError(f"{option} must be the path of the images. Received: {path}")
    return path.resolve()


def _make_quick(given: argparse.Namespace, folder: Path) -> None:
    """Replace the images by a few small ones, which lie in a folder that is removed at the end."""
    given.trashnet = write_photographs(folder / "photographs")
    given.fashion = write_clothes(folder / "clothes.npz")
    given.work, given.seeds = folder / "work", given.seeds or [1, 2]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("photos", "few", "imbalance", "fashion", "tables")
    parser.add_argument("part", nargs="+", choices=names)
    parser.add_argument("--results", type=Path, required=True, help="the file of the results")
    parser.add_argument("--work", type=Path, default=Path(".fovea/recipes"), help="for pixels")
    parser.add_argument("--trashnet", type=Path, help="folder with a folder for each class")
    parser.add_argument("--fashion", type=Path, help="Keras' fashion_mnist.npz")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the splits")
    parser.add_argument("--cards", nargs="+", choices=CARDS)
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="without a name: no peers")
    parser.add_argument("--set", action="append", default=[], help="key=value, or more")
    parser.add_argument("--size", type=int, help="side of the images, for all cards")
    parser.add_argument("--quick", action="store_true", help="a few small pictures instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
