"""The epochs of a phase → what a person sees while it runs: a bar, lines, a warning.

In a terminal a phase has one progress bar. Elsewhere it has one line an epoch, but at most one line
a second, and always one for its last epoch. Nothing here waits for the device: between two epochs
only numbers are used that Keras has computed already.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from components.progress import progress_bar
from components.training.best_epoch import Row
from components.words import count_text

log = logging.getLogger(__name__)

LINE_EVERY_S = 1.0  # the minimum time between two lines, in seconds
# Val turns away from train if val_loss is this much above its lowest value, as a share of it, in
# each of the last TURNED_EPOCHS epochs, while the loss is below that of the epoch of the lowest.
TURNED_SHARE = 0.05
TURNED_EPOCHS = 3


class Source(Protocol):
    """Where batches come from. waited_s: how long the caller has waited for them until now."""

    waited_s: float


@dataclass
class PhaseReport:
    """What is reported about a phase, and how fast it is.

    phase: the name of the phase. epochs: its maximum number of epochs. images: the images of an
    epoch. steps: the batches of an epoch. monitor: the metric that decides which epoch is best.
    later: the maximum number of epochs of the phases after this one.
    rows: the rows of the epochs that are finished.
    step: the number of finished steps of the present epoch. loss: the mean loss of these steps.
    """

    phase: str
    epochs: int
    images: int
    steps: int
    monitor: str
    later: int
    rows: list[Row] = field(default_factory=list)
    step: int = 0
    loss: float | None = None
    _source: Source | None = None
    _first: int = 0  # epochs that were finished before this process began
    _started_s: float = 0.0  # of the phase in this process
    _epoch_started_s: float = 0.0
    _waited_s: float = 0.0  # at the start of the epoch
    _speed: dict[str, float] = field(default_factory=dict)
    _took_s: float | None = None  # how long the phase took, when it is over
    _bar: bool = False
    _line_s: float = -math.inf  # when the last line was logged
    _warned: bool = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the phase while the block runs."""
        self._first, self._started_s = len(self.rows), time.monotonic()
        with progress_bar(self._share, self._words) as self._bar:
            yield

    def begin_epoch(self, source: Source | None) -> None:
        """Begin to measure an epoch.

        source: where the batches come from; None if all examples lie on the device.
        """
        self.step, self._source = 0, source
        self._waited_s = source.waited_s if source else 0.0
        self._epoch_started_s = time.monotonic()

    def end_step(self, step: int, loss: float) -> None:
        """Record that a step is finished. Another thread may call this, also in another order.

        step: the number of finished steps of the epoch. loss: the mean loss of these steps.
        """
        if step > self.step:
            self.step, self.loss = step, loss

    def end_steps(self) -> dict[str, float]:
        """Return the speed of the steps of this epoch, after the last one and before validation.

        images_per_s: training images per second. waiting_share: the share of the time, 0 to 1, in
        which training asked for a batch that was not ready.
        """
        self.step = self.steps
        self._speed = self._measure()
        return self._speed

    def end_epoch(self, row: Row, over: bool) -> None:
        """Report an epoch. over: True if the phase is over with this epoch."""
        self.rows.append(row)
        self.step, self.loss = 0, None
        now = time.monotonic()
        if over:
            self._took_s = now - self._started_s
        if not self._bar and (over or now - self._line_s >= LINE_EVERY_S):
            self._line_s = now
            log.info(self._words())
        if not self._warned and (lowest := turned_away(self.rows)):
            self._warned = True
            log.warning(warning(lowest, row))

    def _measure(self) -> dict[str, float]:
        seconds = max(time.monotonic() - self._epoch_started_s, 1e-9)
        waited = self._source.waited_s - self._waited_s if self._source else 0.0
        images = self.images * self.step / self.steps
        return {"images_per_s": images / seconds, "waiting_share": min(1.0, waited / seconds)}

    def _share(self) -> float:
        if self._took_s is not None:
            return 1.0
        return (len(self.rows) + self.step / self.steps) / self.epochs

    def _words(self) -> str:
        last = self.rows[-1] if self.rows else {}
        loss = last.get("loss") if self.loss is None else self.loss
        metrics = {"loss": loss, self.monitor: last.get(self.monitor)}
        speed = self._measure() if 0 < self.step < self.steps else self._speed
        # A bar shows the epoch that runs, a line the epoch that has ended.
        running = self._bar and self._took_s is None
        epoch = min(len(self.rows) + running, self.epochs)
        return epoch_line(self.phase, epoch, self.epochs, metrics, speed, self._time())

    def _time(self) -> str:
        if self._took_s is not None:
            return f"took {duration(self._took_s)}"
        done = len(self.rows) - self._first + self.step / self.steps
        if not done:
            return ""
        left = self.epochs - self._first - done
        text = f"at most {duration((time.monotonic() - self._started_s) / done * left)} left"
        later = f"then the next phase, at most {count_text(self.later, 'epoch')}"
        return f"{text}, {later}" if self.later else text


def epoch_line(
    phase: str,
    epoch: int,
    epochs: int,
    metrics: dict[str, float | None],
    speed: dict[str, float],
    time_left: str,
) -> str:
    """Return an epoch as a line of text. What is not known yet is left out.

    phase: the name of the phase. epoch, epochs: the number of the epoch, and the largest number.
    metrics: name → value. speed: see `PhaseReport.end_steps`. time_left: a text.

    >>> speed = {"images_per_s": 1240.4, "waiting_share": 0.031}
    >>> epoch_line("head", 3, 15, {"loss": 0.51239}, speed, "took 9 s")
    'phase head  epoch 3 of 15  loss 0.5124  1,240 images/s  waiting for input 3 %  took 9 s'
    """
    words = [f"phase {phase}", f"epoch {epoch} of {epochs}"]
    words += [f"{name} {value:.4g}" for name, value in metrics.items() if value is not None]
    if speed:
        words.append(f"{speed['images_per_s']:,.0f} images/s")
        words.append(f"waiting for input {speed['waiting_share']:.0%}".replace("%", " %"))
    return "  ".join([*words, time_left] if time_left else words)


def duration(seconds: float) -> str:
    """Return a time as text.

    >>> duration(7), duration(84), duration(7500)
    ('7 s', '1 min 24 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def turned_away(rows: Sequence[Row]) -> Row | None:
    """Return the epoch of the lowest val_loss if val has turned away from train since; else None.

    rows: the epochs of a phase, with `loss` and `val_loss`. The rule is at TURNED_SHARE: a model
    that only stops to improve is not meant, nor one of which both losses rise.

    >>> losses = [(0.9, 0.8), (0.6, 0.5), (0.5, 0.6), (0.4, 0.7), (0.3, 0.8)]
    >>> rows = [{"epoch": n, "loss": a, "val_loss": b} for n, (a, b) in enumerate(losses, 1)]
    >>> turned_away(rows)["epoch"]
    2
    >>> turned_away(rows[:-1])
    """
    if len(rows) <= TURNED_EPOCHS:
        return None
    lowest = min(rows, key=lambda row: float(row["val_loss"]))
    since = rows[rows.index(lowest) + 1 :][-TURNED_EPOCHS:]
    limit = lowest["val_loss"] * (1 + TURNED_SHARE)
    turned = all(row["val_loss"] > limit and row["loss"] < lowest["loss"] for row in since)
    return lowest if turned and len(since) == TURNED_EPOCHS else None


def warning(lowest: Row, row: Row) -> str:
    """Return in words that val turns away from train.

    lowest: the epoch of the lowest val_loss. row: the epoch that has just ended.
    """
    return (
        f"val turns away from train in the phase `{row['phase']}`: from epoch {lowest['epoch']} to "
        f"epoch {row['epoch']}, the loss fell from {lowest['loss']:.4g} to {row['loss']:.4g}, but "
        f"val_loss rose from {lowest['val_loss']:.4g} to {row['val_loss']:.4g}; the network learns "
        "the training images by heart (overfitting). More images, more augmentation or fewer "
        "epochs can help; the model gets the weights of its best epoch"
    )
