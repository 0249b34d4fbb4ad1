"""Workers have the code of the search, or say why they do not."""

from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.workspace.code_commit import check_commit, clean_commit
from tests.pipelines.versioned import commit, make_repository


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path)
    Path("a.py").write_text("1")
    return commit("code")


def test_the_commit_of_clean_code_is_known_also_below_the_root_of_the_repository(code, tmp_path):
    assert clean_commit(tmp_path) == code
    Path("dvc.lock").write_text("DVC writes it while the stages run")
    assert clean_commit(tmp_path) == clean_commit(tmp_path / "data") == code


@pytest.mark.parametrize("name", ["a.py", "new file.py"])
def test_changed_and_new_files_are_named(name, code, tmp_path):
    Path(name).write_text("2")
    with pytest.raises(UserError, match=r"have uncommitted changes; commit .*Received: .*" + name):
        clean_commit(tmp_path)


def test_another_commit_is_refused_with_the_command_that_helps(code, tmp_path):
    check_commit(code, tmp_path)
    Path("a.py").write_text("2")
    here = commit("later")
    with pytest.raises(UserError, match=f"`git checkout {code}` in .*Received: {here}$"):
        check_commit(code, tmp_path)


def test_code_outside_of_a_repository_is_refused(tmp_path_factory):
    folder = tmp_path_factory.mktemp("no repository")
    with pytest.raises(UserError, match="git does not know it; run Fovea from a clone"):
        clean_commit(folder)
