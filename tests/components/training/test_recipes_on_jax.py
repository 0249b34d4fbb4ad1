"""The tests of what a recipe is made of, once more on Keras' other backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = ("test_optimizers.py", "test_averaging.py", "test_blocks.py", "test_resume.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_on_jax_the_same_holds(name: str) -> None:
    file = Path(__file__).with_name(name)
    picked = "recipe" if name == "test_resume.py" else "not network"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "slow or not slow"]
    done = subprocess.run(
        [*command, "-k", picked, str(file)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
