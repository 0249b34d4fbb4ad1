"""What a person sees of a phase: lines, a bar, how fast it is, and a warning in words."""

import logging
import os
import pty
import re
import sys
import threading
import time
from contextlib import suppress

import pytest

from components.training import phase_report
from components.training.batches import steps_per_epoch
from components.training.feeding import Feed
from components.training.phase_report import PhaseReport, turned_away, warning
from components.training.training import train_classifier
from pipelines.workspace.messages import show_messages


def report(**changes):
    values = {
        "phase": "head",
        "epochs": 3,
        "images": 40,
        "steps": 4,
        "monitor": "val_balanced_accuracy",
        "later": 0,
    }
    return PhaseReport(**(values | changes))


def row(epoch, loss=0.5, val_loss=0.6):
    return {
        "phase": "head",
        "epoch": epoch,
        "loss": loss,
        "val_loss": val_loss,
        "val_balanced_accuracy": 0.75,
    }


def run_epochs(shown, count):
    with shown.shown():
        for epoch in range(1, count + 1):
            shown.begin_epoch(None)
            shown.end_steps()
            shown.end_epoch(row(epoch), over=epoch == count)


@pytest.fixture
def lines(capsys):
    show_messages()
    return lambda: capsys.readouterr().out.splitlines()


def test_without_a_terminal_an_epoch_is_a_line(lines, monkeypatch):
    monkeypatch.setattr(phase_report, "LINE_EVERY_S", 0.0)
    run_epochs(report(later=15), 3)
    first, second, third = lines()
    words = (
        r"phase head  epoch {} of 3  loss 0\.5  val_balanced_accuracy 0\.75  [\d,]+ images/s  "
        r"waiting for input 0 %  {}"
    )
    left = r"at most 0 s left, then the next phase, at most 15 epochs"
    assert re.fullmatch(words.format(1, left), first)
    assert re.fullmatch(words.format(2, left), second)
    assert re.fullmatch(words.format(3, "took 0 s"), third)


def test_one_epoch_is_no_plural(lines, monkeypatch):
    monkeypatch.setattr(phase_report, "LINE_EVERY_S", 0.0)
    run_epochs(report(later=1), 2)
    assert any(re.search(r"then the next phase, at most 1 epoch\b(?!s)", line) for line in lines())


def test_epochs_of_hundredths_of_a_second_are_few_lines_with_the_last(lines):
    run_epochs(report(epochs=60), 60)
    first, last = lines()
    assert "epoch 1 of 60" in first
    assert "epoch 60 of 60" in last


def test_early_stopping_makes_the_last_line_earlier(lines):
    run_epochs(report(epochs=60), 7)
    assert "epoch 7 of 60" in lines()[-1]


def test_the_time_that_is_left_counts_the_epochs_of_this_process(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(phase_report.time, "monotonic", lambda: clock[0])
    resumed = report(epochs=10, rows=[row(1), row(2)])
    with resumed.shown():
        resumed.begin_epoch(None)
        clock[0] += 20
        resumed.end_step(2, 0.4)  # half an epoch in 20 s, and 7.5 epochs are left
        assert resumed._time() == "at most 5 min 0 s left"
        assert "1 images/s" in resumed._words()


class Slow:
    """A stream that needs longer for a batch than training does."""

    def __init__(self, stream):
        self.stream = stream

    def batch(self, index):
        time.sleep(0.2)
        return self.stream.batch(index)


def test_a_slow_feed_is_seen_as_waiting():
    class Numbers:
        def batch(self, index):
            return index, index, index

    slow = report()
    with Feed(Slow(Numbers()), 0) as feed, slow.shown():
        batches = iter(feed)
        slow.begin_epoch(feed)
        for step in range(4):
            next(batches)
            slow.end_step(step + 1, 0.5)
        speed = slow.end_steps()
    assert speed["waiting_share"] > 0.8
    assert 20 < speed["images_per_s"] < 60


def test_steps_of_another_thread_may_come_in_another_order():
    late = report()
    late.begin_epoch(None)
    late.end_step(2, 0.4)
    late.end_step(1, 0.9)
    assert (late.step, late.loss) == (2, 0.4)


FALLING = [(0.9, 0.8), (0.6, 0.5), (0.5, 0.6), (0.4, 0.7), (0.3, 0.8), (0.2, 0.9)]


@pytest.mark.parametrize(
    "losses",
    [
        FALLING[:4],  # only two epochs since
        [(0.9, 0.8), (0.6, 0.5), (0.5, 0.51), (0.4, 0.52), (0.3, 0.51)],  # val stays where it is
        [(0.9, 0.8), (0.6, 0.5), (0.7, 0.6), (0.8, 0.7), (0.9, 0.8)],  # both rise
        [(0.9, 0.8), (0.6, 0.5), (0.5, 0.6), (0.4, 0.51), (0.3, 0.8)],  # not in succession
        [(0.9, 0.8), (0.6, 0.5), (0.5, 0.6), (0.4, 0.7), (0.3, 0.4)],  # it turns back
    ],
)
def test_val_that_does_not_turn_away_is_not_warned_of(losses):
    assert turned_away([row(n, *pair) for n, pair in enumerate(losses, 1)]) is None


def test_val_that_turns_away_is_warned_of_once(lines):
    turning = report(epochs=6)
    with turning.shown():
        for epoch, pair in enumerate(FALLING, 1):
            turning.begin_epoch(None)
            turning.end_steps()
            turning.end_epoch(row(epoch, *pair), over=False)
    [said] = [line for line in lines() if "val turns away" in line]
    assert said == warning(row(2, 0.6, 0.5), row(5, 0.3, 0.8))
    assert "from epoch 2 to epoch 5, the loss fell from 0.6 to 0.3, but val_loss rose" in said


def read_all(controller, shown):
    """Read what a terminal shows until it is closed, which Linux reports as an error."""
    with os.fdopen(controller, "rb", buffering=0) as source, suppress(OSError):
        while block := source.read(1024):
            shown.append(block)


@pytest.fixture
def on_terminal(monkeypatch):
    """Return a function that calls another one on a pseudo-terminal, and returns what it shows."""

    def on_terminal(work):
        controller, terminal = pty.openpty()
        shown = []
        reader = threading.Thread(target=read_all, args=(controller, shown))
        reader.start()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        logging.getLogger("components").setLevel(logging.INFO)
        with os.fdopen(terminal, "w") as screen, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            work()
        reader.join()
        return re.split(r"[\r\n]+", b"".join(shown).decode())

    return on_terminal


def test_a_terminal_shows_one_bar_and_no_lines(on_terminal):
    shown = on_terminal(lambda: run_epochs(report(), 3))
    *_, last = [line for line in shown if "took" in line]
    assert last.startswith("phase head  epoch 3 of 3  loss 0.5  val_balanced_accuracy 0.75  ")
    assert not any("epoch 2 of 3" in line and "left" not in line for line in shown)
    assert any("━" in line for line in shown)


def test_a_bar_shows_the_epoch_that_runs(on_terminal):
    def work():
        running = report(rows=[row(1)])
        with running.shown():
            running.begin_epoch(None)
            running.end_step(2, 0.4)

    *_, last = [line for line in on_terminal(work) if "left" in line]
    assert last.startswith("phase head  epoch 2 of 3  loss 0.4  val_balanced_accuracy 0.75  ")


@pytest.mark.slow
def test_a_training_shows_one_bar_and_keras_none(data, hyperparameters, tmp_path, on_terminal):
    shown = on_terminal(
        lambda: train_classifier(hyperparameters, data, None, lambda row: None, tmp_path)
    )
    steps = steps_per_epoch(data.balance, hyperparameters.train.batch_size)
    assert not any(f"{steps}/{steps}" in line for line in shown)  # the bar of Keras
    *_, last = [line for line in shown if "took" in line]
    words = r"phase finetune  epoch 2 of 2  loss [\d.]+  val_\w+ [\d.]+  [\d,]+ images/s  waiting"
    assert re.match(words, last)
