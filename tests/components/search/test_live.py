"""What a person sees of a search while it runs, with and without a terminal."""

import logging
import re
import sys
import time

import pytest

from components.search import live
from components.search.live import LiveReport
from components.search.progress import Progress
from components.search.trial import Trial
from components.search.workload import in_words, parts, seconds_needed, seconds_per_epoch
from pipelines.workspace.messages import QUIET, show_messages
from tests.components.search.searches import WRITTEN, rate_of, run_search, search_of
from tests.components.test_progress import Terminal

BEST = Trial(3, "complete", {}, {"val_macro_f1": 0.97125})


@pytest.fixture(autouse=True)
def messages():
    show_messages()
    yield
    show_messages()


def terminal_of(monkeypatch):
    """Put a terminal in the place of standard error. A fixture is too early for this."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def at(complete, rung="first rung", wanted=6, over=False, **more):
    numbers = {"pruned": 0, "failed": 0, "running": 0, "seconds": 3.0, "best": BEST}
    return Progress(rung, complete, wanted=wanted, over=over, **{**numbers, **more})


def report_of(search, workers=2, **more):
    return LiveReport(parts(search, WRITTEN), workers, "val_macro_f1", search.minutes, **more)


def test_the_parts_of_a_search_are_counted_as_the_coordinator_runs_them(tmp_path):
    search, seen = search_of(finalists=4), []

    def train(task, on_value):
        seen.append(task)
        return {"val_macro_f1": rate_of(task)}

    run_search(tmp_path, search, train)
    expected = parts(search, WRITTEN)
    assert [(part.rung, part.trainings, part.epochs) for part in expected] == [
        ("first rung", 6, 2),
        ("round 1", 4, 2),  # until epoch 4 of 15
        ("round 2", 2, 4),  # until 8
        ("round 3", 1, 7),
        ("confirmation", 4, 15),
    ]
    assert len(seen) == sum(part.trainings for part in expected)
    assert sum(part.trainings * part.epochs for part in expected) == 95
    words = "6 trials, then 4 finalists in 3 rounds, then 4 trainings on folds"
    assert in_words(expected) == words
    # By hand: 3 turns of 2 workers for 2 epochs, 2 * 2, 1 * 4, 1 * 7, 2 * 15 epochs of 10 s.
    assert seconds_needed(expected, 10.0, workers=2) == 10 * (6 + 4 + 4 + 7 + 30)


def test_heads_cost_about_one_epoch_each():
    frozen = WRITTEN.model_copy(
        update={
            "model": WRITTEN.model.model_copy(
                update={"backbone": "mobilenet_v2", "weights": "imagenet"}
            )
        }
    )
    expected = parts(search_of(first_rung="head"), frozen)
    assert [part.epochs for part in expected] == [1, 8, 7, 16]


def test_nothing_finished_gives_no_speed():
    assert seconds_per_epoch(parts(search_of(), WRITTEN), {"first rung": (0, 0.0)}) is None


def test_before_the_first_trials_the_time_is_unknown_or_a_guess(capsys):
    with report_of(search_of(), workers=1).shown():
        pass
    assert capsys.readouterr().out == (
        "at most 6 trials, then 2 finalists in 2 rounds, then 4 trainings on folds, on 1 worker; "
        "how long this takes can be said when the first trials are finished\n"
    )
    with report_of(search_of(), guess_s=60.0).shown():
        pass
    out = capsys.readouterr().out
    assert out.startswith("about 50 min on 2 workers: 6 trials, then 2 finalists")
    assert out.endswith(
        "until the first trials are finished, the time is a guess from the last search "
        "of this model\n"
    )


def test_lines_come_now_and_then_and_at_the_end_of_each_rung(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    report = report_of(search_of())
    report.update(at(0, running=2))
    assert capsys.readouterr().out == ""
    for complete in range(1, 6):  # a trial in 3 s
        clock[0] += 3.0
        for _ in range(5):  # the coordinator calls it several times a second
            report.update(at(complete, running=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "first rung: 1 of 6 trials",
        "first rung: 5 of 6 trials",
    ]
    report.update(at(6, over=True))
    clock[0] += 1.0
    report.update(at(1, "round 1 of 3 0", wanted=2, running=1, failed=1))
    report.update(at(2, "round 1 of 3 0", wanted=2, over=True))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "first rung: 6 of 6 trials",
        "round 1: 2 of 2 trials",
    ]


def test_a_line_has_the_best_trial_the_speed_and_the_time_left(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    search = search_of(trials=8, finalists=0, confirm={"trials": 0, "folds": 2})
    report = report_of(search)
    report.update(at(1, wanted=8, running=2))
    clock[0] += 120.0
    # Complete trials took 100 s each. 4.5 trials are left, by two workers: 225 s.
    report.update(at(2, wanted=8, pruned=0, failed=1, running=1, seconds=100.0))
    assert capsys.readouterr().out.splitlines()[-1] == (
        "first rung: 3 of 8 trials, 1 running, 1 failed, best val_macro_f1 0.9712 (trial 3), "
        "1.0 a minute, about 4 min left"
    )
    report.update(at(2, wanted=8, failed=1, over=True, stopped=True, best=None))
    assert "no further trial starts" in capsys.readouterr().out


def test_the_limit_of_a_search_limits_the_time_left(capsys):
    report = report_of(search_of(minutes=3.0))
    report.update(at(1, seconds=900.0))
    assert capsys.readouterr().out.endswith("about 3 min left\n")
    report = report_of(search_of(minutes=30.0), spent_s=28 * 60.0)  # in an earlier process
    report.update(at(1, seconds=900.0))
    assert capsys.readouterr().out.endswith("about 2 min left\n")


def test_in_a_terminal_there_is_one_table_and_no_line(monkeypatch, capsys):
    terminal = terminal_of(monkeypatch)
    report = report_of(search_of())
    with report.shown():
        report.update(at(6, pruned=0, failed=0, over=True))
        report.update(at(1, "round 1 of 3 0", wanted=2, running=1, seconds=6.0))
        time.sleep(0.6)
        assert "round 1" in terminal.text
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.text).replace("\r", "").rstrip()
    rows = [" ".join(line.split()) for line in text.splitlines()[-4:]]
    assert rows[0].endswith("rung running complete pruned failed of")
    assert rows[1:3] == ["first rung 0 6 0 0 6", "round 1 1 1 0 0 2"]
    assert rows[3].startswith("best val_macro_f1 0.9712 (trial 3), ")
    assert rows[3].endswith(" left")
    out = capsys.readouterr().out
    assert "first rung: 6" not in terminal.text + out


def test_quiet_shows_nothing(monkeypatch, capsys):
    terminal = terminal_of(monkeypatch)
    show_messages(level=QUIET)
    report = report_of(search_of())
    with report.shown():
        report.update(at(6, over=True))
    assert (terminal.text, capsys.readouterr().out) == ("", "")


def test_a_whole_search_is_shown(tmp_path, caplog):
    logging.getLogger("components").addHandler(caplog.handler)
    search = search_of()
    report = report_of(search)

    def train(task, on_value):
        return {"val_macro_f1": rate_of(task)}

    with report.shown():
        run_search(tmp_path, search, train, report.update)
    lines = [record.message for record in caplog.records]
    for end in (
        "first rung: 6 of 6 trials, ",
        "round 1: 2 of 2 t",
        "round 2: 1 of 1 t",
        "confirmation: 4 of 4 trainings, ",
    ):
        assert sum(line.startswith(end) for line in lines) == 1
    assert lines[-1].startswith("confirmation: 4 of 4")
    assert " left" not in lines[-1]
