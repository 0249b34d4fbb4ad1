"""A home in which nothing can be written → one sentence before Prefect waits for its server."""

from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.workspace.environment import check_prefect_home


def test_a_home_without_the_right_to_write_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")  # a home in which root cannot write either
    with pytest.raises(UserError, match=r"set PREFECT_HOME .*Received: /dev/null/\.prefect$"):
        check_prefect_home()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "new"))
    check_prefect_home()
    monkeypatch.setenv("PREFECT_HOME", "/dev/null/x")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    check_prefect_home()
