import pytest

from components.model.arithmetic import VARIABLES
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params
from pipelines.workspace.training_key import training_key
from tests.components.training.conftest import tiny_data


def test_a_variable_that_chooses_other_arithmetic_is_part_of_the_key(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = training_key(hyperparameters, tiny_data(), None)
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    after = training_key(hyperparameters, tiny_data(), None)
    changed = {name: (before[name], after[name]) for name in after if before[name] != after[name]}
    assert changed == dict.fromkeys(VARIABLES, ("not set", "1"))
