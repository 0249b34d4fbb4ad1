"""python -m tests.benchmarks.search PART …: our search of hyperparameters, and what it costs.

- `naive`: beside Optuna as its example for Keras does it, where each trial trains from the images
- `kerastuner`: beside KerasTuner's Hyperband, which must be installed for it
- `workers`: trials a minute of one worker on one core, and of two workers on two cores
- `overhead`: what a trial costs beside its training, and the memory of a search of many trials
- `pruning`: whether the median rule stops trials that would have been better than the best one
- `tables`: only print the tables of --results, and draw its pictures

The images are those of TrashNet (--trashnet). A result is a line in --results, which is written at
once. What is there is not computed again, so a run may be stopped and goes on later. Start a new
file for other code. ImageNet's weights come from KERAS_HOME. --quick runs a part on a few small
pictures. Nothing else should run on the machine, which needs two cores for `workers`.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.errors import UserError
from tests.benchmarks.quiet import start_quietly
from tests.benchmarks.recipes.results import Results
from tests.benchmarks.recipes.sets import photographs
from tests.benchmarks.recipes.synthetic import write_photographs
from tests.benchmarks.search.cases import QUICK_SIZES, Case, Sizes
from tests.benchmarks.search.parts import PARTS
from tests.benchmarks.search.picture import draw
from tests.benchmarks.search.tables import tables


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
                    for seed in given.seeds:
                        PARTS[name](_case(given, seed), results)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(tables(results.lines))
    for (data, seed), text in draw(results.lines).items():
        picture = given.results.with_suffix(f".{data}-seed{seed}.svg")
        picture.write_text(text)
        print(f"picture: {picture}")


def _case(given: argparse.Namespace, seed: int) -> Case:
    if given.trashnet is None or not given.trashnet.is_dir():
        raise UserError(f"--trashnet must be the folder of the images. Received: {given.trashnet}")
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    return Case(
        photographs("trashnet", given.trashnet.resolve(), few=False),
        work,
        seed,
        given.budget,
        given.epochs,
        QUICK_SIZES if given.quick else Sizes(),
        given.quick,
    )


def _make_quick(given: argparse.Namespace, folder: Path) -> None:
    """Replace the images by a few small ones, which lie in a folder that is removed at the end."""
    given.trashnet, given.work = write_photographs(folder / "photographs"), folder / "work"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="+", choices=(*PARTS, "tables"))
    parser.add_argument("--results", type=Path, required=True, help="the file of the results")
    parser.add_argument("--work", type=Path, default=Path(".fovea/search-benchmark"))
    parser.add_argument("--trashnet", type=Path, help="folder with a folder for each class")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of splits and searches")
    parser.add_argument("--budget", type=float, default=1200.0, help="seconds beside a peer")
    # As in Optuna's example keras_integration.py.
    parser.add_argument("--epochs", type=int, default=20, help="of a trial of a peer")
    parser.add_argument("--quick", action="store_true", help="a few small pictures instead")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends a search that runs, too
    main()
