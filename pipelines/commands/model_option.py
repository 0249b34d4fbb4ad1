"""The option --model of a command → an address that `find_model` and `load` understand."""

from pathlib import Path

from components.params.reader import read_params
from pipelines import artifacts


def model_address(wanted: str | None) -> str:
    """Return the address of a model.

    wanted: None for the model of this workspace; `@ALIAS` for a version of the registered model
    that params.yaml names; every other text is an address already.
    Raises UserError if params.yaml is needed, and is missing or breaks a rule.
    """
    if wanted is None:
        return str(artifacts.MODEL)
    if wanted.startswith("@"):
        return f"models:/{read_params(Path('params.yaml')).register_.name}{wanted}"
    return wanted
