"""A home or a locale in which work cannot start → one sentence before it does."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.commands.variables import other_variables
from pipelines.workspace.environment import can_write, check_prefect_home, expand_home

ROOT = Path(__file__).parents[3]


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
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "what?"))
    with pytest.raises(UserError, match=r"path with `\?` .*Received: .*/what\?$"):
        check_prefect_home()
    monkeypatch.setenv("PREFECT_HOME", "/dev/null/x")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    check_prefect_home()


def test_a_user_without_name_and_home_is_one_sentence() -> None:
    """`~nobody-has-this-name` has no home folder, like `~` of a user without name and HOME."""
    with pytest.raises(UserError, match="this user has no home folder; set HOME"):
        expand_home("~nobody-has-this-name/.prefect")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_a_name_is_one_sentence() -> None:
    """As in `docker run --user 54321`. The variables could give a name."""
    program = (
        "import os; from pipelines.workspace.environment import check_user_name; import pwd; "
        "[os.environ.pop(name, None) for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME')]; "
        "check_user_name(); os.setuid(54321); check_user_name()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    assert "run `export USER=fovea` first. Received: user 54321" in last


@pytest.mark.parametrize(
    "command", [["pipelines.commands.fovea", "history"], ["pipelines", "split"]]
)
@pytest.mark.parametrize(
    ("utf8", "sentence"), [("0", "run `export PYTHONUTF8=1`"), ("1", "params")]
)
def test_in_a_locale_without_utf_8_the_path_of_a_workspace_must_be_ascii(
    command: list[str], utf8: str, sentence: str, tmp_path: Path
) -> None:
    folder = tmp_path / "größe"
    folder.mkdir()
    narrow = {"LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **narrow, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr


def test_a_user_without_a_home_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"uid not found: {number}")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for check in (check_prefect_home, other_variables):
        with pytest.raises(UserError, match=r"^this user has no home folder; set HOME .*Received"):
            check()


def test_a_folder_below_a_folder_of_another_user_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:  # as for /root/.prefect
        if path.name == ".prefect":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    (tmp_path / "closed").touch()
    assert not can_write(tmp_path / "closed/.prefect")
    assert can_write(tmp_path / ".prefect")
