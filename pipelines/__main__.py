"""The name of a stage on the command line → the files that the stage writes.

DVC runs `python -m pipelines <stage>` with the `python` that is first on PATH. If the virtual
environment is not active, this is another Python, without the packages. So this module imports only
the standard library and modules without packages, until `main` has looked for the packages. The
other Python may also be older: the import of `annotations` lets Python 3.8 read `int | None`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import signal
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import UserError, disk_errors

if TYPE_CHECKING:
    from components.params.reader import Params

# Every stage needs these packages.
NEEDED = ("packaging", "pandas", "pydantic", "yaml")

STAGES = (
    "ingest",
    "validate",
    "split",
    "prepare",
    "balance",
    "search",
    "train",
    "evaluate",
    "register",
)


READS_IMAGES = ("ingest", "prepare")
TRAINS = ("search", "train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage. Return the exit status: 0, or 1 after a UserError, or 130 after Ctrl-C.

    SIGTERM counts as Ctrl-C if this module is the program.

    The message of a UserError, or of an error of a disk or of rights, is printed to stderr. Every
    other exception is raised.
    arguments: the arguments of the command line; None means the arguments of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipelines",
        description="Run one stage. `dvc repro` runs all stages that are not up to date.",
        epilog="example: python -m pipelines validate",
    )
    parser.add_argument("stage", choices=STAGES, help="the stages, in the order in which they run")
    stage = parser.parse_args(arguments).stage
    if not all(map(importlib.util.find_spec, NEEDED)):
        print(f"error: {_wrong_python(stage)}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        _check_and_run(stage)
    except UserError as error:
        from pipelines.workspace.messages import end_output, visible

        print(f"error: {visible(str(error))}", file=sys.stderr)  # noqa: T201
        end_output()
        return 1
    except KeyboardInterrupt:
        print(f"{stage} was interrupted; `dvc repro` runs it again", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _check_and_run(stage: str) -> None:
    """Check packages, params and models, and run the stage. Raises UserError if a check fails."""
    from components.params.reader import read_params
    from pipelines.installed import check_packages_of
    from pipelines.workspace.environment import check_encoding, quiet_vendors
    from pipelines.workspace.messages import show_messages

    quiet_vendors()
    show_messages(stage)
    with disk_errors():
        check_encoding()
        check_packages_of(stage)
        params = read_params(Path("params.yaml"))
        # Without these checks, a later stage could fail after an hour of training. The last one may
        # download weights.
        if stage in READS_IMAGES + TRAINS:
            from components.training.transforms import check_augmentation

            check_augmentation(params.train.augmentation, params.prepare.size)
        if stage in TRAINS:
            _check_slices(params)
        if stage in READS_IMAGES:
            from components.registry.model_checks import check_models

            check_models(params)
        if stage == "train" and _needs_guard():
            from pipelines.workspace.guarded import run_guarded

            # A new process cannot import the module that `python -m` runs, except by its name.
            run_guarded(partial(importlib.import_module("pipelines.__main__").main, [stage]))
        else:
            run_stage(stage, params)


def _check_slices(params: Params) -> None:
    """Raise UserError if the stage `evaluate` will not find a column of `evaluate.slices`."""
    from components.evaluation.slice_members import check_columns
    from pipelines import artifacts
    from pipelines.formats import read_table

    if params.evaluate.slices:
        check_columns(read_table(artifacts.rows("test")), params.evaluate.slices)


def _needs_guard() -> bool:
    """Return whether this is one of several machines, and not yet the child of `run_guarded`."""
    from components.training.machines import read_machines

    return read_machines().count > 1 and parent_process() is None


def _wrong_python(stage: str) -> str:
    """Return the message for a Python without Fovea's packages.

    DVC has removed the outs of the stage before it started this Python. DVC keeps copies in its
    cache.
    """
    return (
        "the virtual environment is not active, so DVC has found another Python, without the "
        "packages; run `. .venv/bin/activate` and then `dvc repro`; `dvc checkout` restores the "
        f"earlier results of `{stage}`, which DVC has removed. Received: {sys.executable}"
    )


def run_stage(stage: str, params: Params) -> None:
    """Call the function `run` of the stage.

    Each parameter of `run` has the name of a top-level key of params.yaml. Its argument is the
    value of this key, that is, a section.
    """
    run = importlib.import_module(f"pipelines.{stage}").run
    run(**{name: params.section(name) for name in inspect.signature(run).parameters})


if __name__ == "__main__":
    # A cancelled job (SIGTERM) ends as after Ctrl-C: its MLflow run has an end, and its temporary
    # files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
