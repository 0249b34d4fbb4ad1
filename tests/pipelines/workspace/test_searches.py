"""The folder of the searches: which is the newest, which stay, and which process may run one."""

import json
from contextlib import ExitStack

import pytest

from components.errors import UserError
from pipelines.workspace.searches import (
    FOLDER,
    KEPT,
    LAST,
    PLAN,
    begin_search,
    is_running,
    last_search,
    make_newest,
)
from tests.components.search.searches import PARAMS, WRITTEN, search_of


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def begin(key, search=None):
    return begin_search({"name": key}, {}, search or search_of(), WRITTEN, PARAMS.balance)


def run(key):
    with begin(key) as saved:
        make_newest(saved, {"name": key})
    return saved


def folders():
    return {path.name for path in FOLDER.iterdir() if path.is_dir()}


def test_a_second_process_with_the_same_search_changes_nothing_of_the_first():
    with begin("a", search_of(trials=6)) as saved:
        make_newest(saved, {"name": "a"})
        before = (saved.folder / PLAN).read_bytes()
        more = begin("a", search_of(trials=60))
        with pytest.raises(UserError, match="another process runs this search already"), more:
            pass
        assert (saved.folder / PLAN).read_bytes() == before
        assert is_running(saved.folder)
    assert last_search() == saved


def test_a_search_that_cannot_start_does_not_take_the_place_of_the_last_one(caplog):
    last = run("a")
    with pytest.raises(UserError), begin("b"):
        raise UserError("FOVEA_SEARCH_WORKERS: no number")
    assert last_search() == last
    assert not caplog.records
    run("b")
    assert [record.message for record in caplog.records] == [
        "a new search begins, because this differs from the last one: name (a → b)"
    ]
    run("a")
    assert len(caplog.records) == 1  # It is not new.


def test_the_newest_folders_stay_and_a_search_that_runs_too():
    with ExitStack() as stack:
        running = stack.enter_context(begin("0"))
        make_newest(running, {"name": "0"})
        names = [run(str(number)).folder.name for number in range(1, KEPT + 2)]
        assert folders() == {running.folder.name, *names[-KEPT:]}
    assert (FOLDER / LAST).read_text() == names[-1]


def test_damage_of_the_files_is_one_sentence():
    saved = run("a")
    plan = json.loads((saved.folder / PLAN).read_text())
    for content in (b"\xff\xfe", b"{", b"[]", b'{"study": "s"}', json.dumps({**plan, "search": 1})):
        (saved.folder / PLAN).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
        with pytest.raises(
            UserError, match=r"search\.json: it is damaged, or of another Fovea; run"
        ):
            last_search()
    (saved.folder / PLAN).unlink()
    assert last_search() is None
