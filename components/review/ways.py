"""A version and its verdict → the commands and MLflow's page by which a reviewer decides on it."""

from collections.abc import Sequence
from dataclasses import dataclass

REGISTER_EXPERIMENT = "dvc exp apply EXPERIMENT && fovea register"
ROLLBACK = 'fovea rollback --reason "…"'
# The address at which `fovea ui` serves MLflow's page, if its first port is free.
LOCAL = "http://127.0.0.1:5000"


@dataclass(frozen=True)
class Page:
    """A page of MLflow. address: the whole address. served: True if `fovea ui` must serve it."""

    address: str
    served: bool


def commands(version: int, decision: str, *, declined: bool) -> tuple[str, ...]:
    """Return the commands that decide on a version. The first one does what the verdict advises.

    decision: the verdict, such as `promote`, or `none`. declined: True if a reviewer has rejected
    the version, or rolled it back.

    >>> commands(3, "hold", declined=False)[0]
    'fovea promote 3 --override --reason "…"'
    """
    override = "" if decision == "promote" and not declined else " --override"
    promote = f'fovea promote {version}{override} --reason "…"'
    reject = f'fovea reject {version} --reason "…"'
    return (reject, promote) if declined or decision == "reject" else (promote, reject)


def model_route(name: str, version: int | None = None) -> str:
    """Return the part of an address of MLflow that names a registered model, or a version of it."""
    model = f"#/models/{name}"
    return model if version is None else f"{model}/versions/{version}"


def page(store: str, route: str) -> Page:
    """Return a page of MLflow.

    store: the address of MLflow, as `components.tracking.connection.store` returns it. route: the
    part after the address of MLflow.

    >>> page("sqlite:///mlflow.db", "#/models/digits").address
    'http://127.0.0.1:5000/#/models/digits'
    """
    served = not store.startswith("http")
    return Page(f"{LOCAL if served else store.rstrip('/')}/{route}", served)


def in_code(lines: Sequence[str]) -> str:
    """Return commands as a block of code in Markdown."""
    return "\n".join(["```", *lines, "```"])
