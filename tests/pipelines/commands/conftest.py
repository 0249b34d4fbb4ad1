"""A copy of the repository that a test file makes once, to be changed by one test."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the `template` of the test file."""
    shutil.copytree(template, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository"
