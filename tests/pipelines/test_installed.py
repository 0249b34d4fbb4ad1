"""A stage whose packages are not those of the lock stops with one sentence."""

import ast
import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines import installed
from pipelines.__main__ import main
from pipelines.installed import Difference, check_installed, differences, expected_versions

ROOT = Path(__file__).parents[2]
NUMPY = metadata.version("numpy")


def group(folder: Path, text: str) -> Path:
    path = folder / "data.txt"
    path.write_text(text)
    return path


def test_what_is_installed_as_listed_is_accepted(tmp_path: Path) -> None:
    check_installed(group(tmp_path, f"numpy=={NUMPY}\n"))


def test_another_version_stops_in_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    path = group(tmp_path, f"numpy==1.0\npackaging=={metadata.version('packaging')}\n")
    with pytest.raises(UserError) as error:
        check_installed(path)
    assert str(error.value) == (
        "run `make set-up` or `uv pip install --no-deps -r requirements.lock` to install the "
        f"packages that {path} lists. "
        f"Received: numpy {NUMPY} instead of 1.0"
    )


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Received: no-such-package missing instead of 2\.0$"):
        check_installed(group(tmp_path, "no-such-package==2.0\n"))


def test_a_line_for_another_platform_or_python_asks_for_nothing() -> None:
    lines = (
        "no-such-package==1.0 ; sys_platform == 'win32'\n"
        "numpy==1.0 ; python_full_version < '3.11'\n"
        f"numpy=={NUMPY} ; python_full_version >= '3.11'\n"
    )
    assert differences(lines) == []


def test_the_lock_itself_is_read_the_same_way() -> None:
    entry = "numpy==1.0 \\\n    --hash=sha256:00\n    # via\n    #   keras==3\n"
    assert expected_versions(entry) == {"numpy": "1.0"}
    assert differences(entry) == [Difference("numpy", "1.0", NUMPY)]


def test_a_stage_does_not_start_with_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "PACKAGES", tmp_path)
    group(tmp_path, "numpy==1.0\n")
    assert main(["ingest"]) == 1
    assert capsys.readouterr().err.endswith(f"Received: numpy {NUMPY} instead of 1.0\n")


def test_a_python_without_the_packages_says_that_the_environment_is_not_active(
    tmp_path: Path,
) -> None:
    venv.create(tmp_path / "bare", symlinks=True, with_pip=False)
    bare = tmp_path / "bare/bin/python"
    command = [bare, "-m", "pipelines", "split"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the virtual environment is not active, so DVC has found")
    assert done.stderr.endswith(f"Received: {bare}\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_python_that_is_too_old_can_read_what_says_so() -> None:
    for module in ("pipelines/__init__", "pipelines/__main__", "components/errors"):
        text = (ROOT / f"{module}.py").read_text()
        ast.parse(text, feature_version=(3, 8))
        # Python 3.9 and older cannot compute `int | None`, so annotations must stay texts.
        assert " | None" not in text or "from __future__ import annotations" in text
    assert (ROOT / "components/__init__.py").read_text().strip().count("\n") == 0


def test_ctrl_c_while_modules_are_imported_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class PressCtrlC:
        def find_spec(self, name: str, *others: object) -> None:
            if name == "components.params.reader":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [PressCtrlC(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "components.params.reader")
    assert main(["split"]) == 130
    assert capsys.readouterr().err == "split was interrupted; `dvc repro` runs it again\n"
