"""The champion's run in MLflow → its hyperparameters as a point of `search.start` in params.yaml.

A search then tries them right after the values in params.yaml, and reads nothing but params.yaml.

Example: the champion was trained with dropout 0.4, and `search.space` has `model.dropout`. Then
`search.start` gets the point `{model.dropout: 0.4}`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from components.errors import UserError
from components.params import yaml_text
from components.params.hyperparameters import Hyperparameters
from components.params.model import VERSION
from components.params.reader import parse_params
from components.params.search import Space, is_chosen, is_inside, suggestion_order
from components.params.sentences import in_yaml
from components.registry.versions import Version, version_of_model, versions
from components.search.space import Overrides, start_points
from components.tracking.runs import dotted
from pipelines.workspace.params_text import PARAMS, with_item

log = logging.getLogger(__name__)

START = ("search", "start")
# A search tries no seeds, `model.weights` names the champion itself, and threads are no matter of
# quality. So they may differ from those of the champion.
MAY_DIFFER = ("train.seed", "train.threads", "model.weights")
UNKNOWN = "not recorded"


def with_champions_point(text: str, champion: Version, before: str) -> str:
    """Return the text of params.yaml with the champion's hyperparameters in `search.start`.

    Their point is the first one. But if `search.start` has the point of the version that
    `model.weights` named before, this point is replaced. So the list does not grow each time.

    The text is returned as it is if `search.trials` is 0, if the point is there already, or if it
    has the values that params.yaml has anyway. It is also returned as it is, with a warning, if the
    point is not in `search.space`. Another warning names hyperparameters that the point lacks,
    because they are not searched.

    text: names the champion in `model.weights` already. before: the old value of `model.weights`.
    Raises UserError if params.yaml breaks a rule, or if MLflow does not answer.
    """
    params = parse_params(text, PARAMS)
    space, written = params.search.space, Hyperparameters(model=params.model, train=params.train)
    if not params.search.trials:
        return text
    recorded = _recorded(champion)
    point, outside = _point(recorded, space, written)
    called = f"the champion, version {champion.number} of {champion.name},"
    if outside:
        log.warning(
            f"search.start: {called} has hyperparameters that are not in search.space, so no trial "
            "begins with them; widen search.space, or add a point by hand. "
            f"Received: {in_yaml(outside)}"
        )
        return text
    if others := _others(recorded, space, written):
        log.warning(
            f"search.space: {called} also has other hyperparameters than params.yaml that are not "
            "searched, so its point has those of params.yaml; add them to search.space, or write "
            f"them into params.yaml. Received: {in_yaml(others)}"
        )
    if point in start_points(params.search, written):
        log.info(f"params.yaml already has the hyperparameters of {called} where a search begins")
        return text
    changed = with_item(text, START, point, _point_before(before, space, written))
    log.info(f"params.yaml: search.start now has the hyperparameters of {called} {in_yaml(point)}")
    return changed


def _recorded(version: Version) -> Mapping[str, str]:
    """Return the hyperparameters of a version as texts, as its run in MLflow has them.

    They are those of the training, after a search. The result is empty if the run was deleted, or
    if the model was trained on another machine, so this MLflow has not seen its training.
    """
    params = version.run.read_params() if version.run.exists() else {}
    return {name: text for name, text in params.items() if name.startswith(("model.", "train."))}


def _point(
    recorded: Mapping[str, str], space: Space, written: Hyperparameters
) -> tuple[Overrides, Overrides]:
    """Return the point of a version, and name → value of what is not in the space.

    recorded: see `_recorded`. A name whose condition does not hold is in neither of the two.
    """
    point: Overrides = {}
    outside: Overrides = {}
    for name in suggestion_order(space):
        if is_chosen(space[name], point):
            value = _parsed(recorded[name]) if name in recorded else None
            if value is not None and is_inside(value, space[name], written.value(name)):
                point[name] = value
            else:
                outside[name] = UNKNOWN if value is None else value
    return point, outside


def _point_before(weights: str, space: Space, written: Hyperparameters) -> Overrides | None:
    """Return the point of the version that `model.weights` has named before; None without one."""
    named = VERSION.fullmatch(weights)
    sha256 = named["sha256"] if named else None
    if named is None or sha256 is None:
        return None
    version = version_of_model(versions(named["name"]), sha256)
    point, outside = _point(_recorded(version), space, written) if version else ({}, {})
    return point if point and not outside else None


def _others(recorded: Mapping[str, str], space: Space, written: Hyperparameters) -> dict[str, Any]:
    """Return name → value of what differs from params.yaml, and is not searched."""
    ours = {name: str(value) for name, value in dotted(written.model_dump())}
    left_out = {*space, *MAY_DIFFER}
    return {
        name: _parsed(text)
        for name, text in recorded.items()
        if name not in left_out and ours.get(name) != text
    }


def _parsed(text: str) -> Any:
    """Return the value that a run has as a text, such as the number of `0.4`."""
    try:
        return yaml_text.parse(text, PARAMS)
    except UserError:
        return text
