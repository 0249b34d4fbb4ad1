"""Optuna studies in memory, which are asked or measured once and thrown away."""

from collections.abc import Sequence
from typing import Any, Literal


def memory_study(
    sampler: Any = None, directions: Sequence[Literal["maximize", "minimize"]] | None = None
) -> Any:
    """Return a new optuna.Study in memory. Optuna does not write to the log that there is one.

    sampler: one of optuna.samplers; None for Optuna's own choice. directions: `maximize` or
    `minimize` for each objective; None for one that is minimized.
    """
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.create_study(sampler=sampler, directions=directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
