"""The rows of a study and of its trials in Optuna's tables, inside of a transaction of the caller.

Optuna has no public functions that work inside of a transaction of the caller, so its classes for
the rows are used. They belong to the pinned version of Optuna.
"""

import json
from datetime import datetime
from typing import Any

# What belongs to claims is in Optuna's system attributes, which Optuna Dashboard does not show.
# What people read is in the user attributes.
SYSTEM = "fovea:"


def lock_study(session: Any, study_id: int) -> Any:
    """Return the row of the study. Until the transaction ends, no other one can lock it."""
    return _models().StudyModel.find_or_raise_by_id(study_id, session, for_update=True)


def lock_trial(session: Any, trial_id: int) -> Any:
    """Return the row of a trial. Until the transaction ends, no other one can lock it."""
    return _models().TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)


def trials_in(session: Any, study_id: int, state: str | None = None) -> Any:
    """Return a query of the trials of a study, of those in one state if it is given, by number."""
    model = _models().TrialModel
    query = session.query(model).filter(model.study_id == study_id)
    if state:
        query = query.filter(model.state == _state(state))
    return query.order_by(model.number)


def study_exists(session: Any, name: str) -> bool:
    """Return whether the database has a study of this name."""
    return _models().StudyModel.find_by_name(name, session) is not None


def enter_state(trial: Any, state: str) -> None:
    """Change the state of a trial, and its times with it."""
    trial.state = _state(state)
    if state == "RUNNING":
        trial.datetime_start = datetime.now()
    elif state == "WAITING":
        trial.datetime_start = None
    else:
        trial.datetime_complete = datetime.now()


def trial_attribute(session: Any, trial: Any, key: str) -> Any:
    """Return an attribute of a trial, or None if it is not set."""
    row = _attribute_model(key).find_by_trial_and_key(trial, key, session)
    return None if row is None else json.loads(row.value_json)


def set_trial_attribute(session: Any, trial: Any, key: str, value: Any) -> None:
    """Set an attribute of a trial to a value that JSON can write."""
    model, text = _attribute_model(key), json.dumps(value)
    row = model.find_by_trial_and_key(trial, key, session)
    if row is None:
        session.add(model(trial_id=trial.trial_id, key=key, value_json=text))
    else:
        row.value_json = text


def study_attribute(session: Any, study_id: int, key: str) -> Any:
    """Return a user attribute of the study, or None if it is not set."""
    model = _models().StudyUserAttributeModel
    row = session.query(model).filter_by(study_id=study_id, key=key).one_or_none()
    return None if row is None else json.loads(row.value_json)


def set_study_attribute(session: Any, study_id: int, key: str, value: Any) -> None:
    """Set a user attribute of a study, whose row is locked, to a value that JSON can write."""
    model, text = _models().StudyUserAttributeModel, json.dumps(value)
    row = session.query(model).filter_by(study_id=study_id, key=key).one_or_none()
    if row is None:
        session.add(model(study_id=study_id, key=key, value_json=text))
    else:
        row.value_json = text


def _attribute_model(key: str) -> Any:
    models = _models()
    system = key.startswith(SYSTEM)
    return models.TrialSystemAttributeModel if system else models.TrialUserAttributeModel


def _models() -> Any:
    from optuna.storages._rdb import models

    return models


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]
