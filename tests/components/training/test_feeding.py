"""Batches from worker processes: the same for any number of them, and whatever happens to them."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from components.errors import HyperparameterError, UserError
from components.model.backend import load_keras
from components.params.augmentation import Augmentation
from components.training import feeding
from components.training.augmentation import build_augmentation
from components.training.batches import Stream
from components.training.feeding import SLOTS, Feed, worker_count
from components.training.mixing import Mixing
from components.training_set.examples import Balance, Examples
from tests.components.training.streams import Deadly, Faulty, Numbers, Unsendable

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def stream() -> Stream:
    generator = np.random.default_rng(1)
    images, labels = generator.integers(0, 256, (40, 8, 8, 3), np.uint8), np.arange(40) % 2
    balance = Balance(np.array([20, 20]), np.array([0.5, 2], np.float32), np.zeros(2, np.float32))
    policy = build_augmentation(Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.3)))
    mixing = Mixing(mixup=0.4, cutmix=1.0, batches=9, classes=2)
    return Stream(Examples(images, labels), balance, 7, 3, policy, mixing=mixing)


def numbers(feed: Feed, count: int) -> list[int]:
    return [int(inputs[0, 0]) for inputs, _, _ in islice(feed, count)]


def processes() -> list[Any]:
    """Return the worker processes of this process."""
    return [p for p in psutil.Process().children(recursive=True) if is_worker(p)]


def is_worker(process: psutil.Process) -> bool:
    """Return whether the parent of a process is a forkserver."""
    try:
        return "forkserver" in " ".join(process.parent().cmdline())
    except psutil.Error:
        return False


def wait(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true; fail after 30 s."""
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_same_for_any_number_of_workers(stream, workers, start) -> None:
    with Feed(stream, workers, start) as feed:
        for index, batch in enumerate(islice(feed, 14), start):
            for ours, expected in zip(batch, stream.batch(index), strict=True):
                assert ours.dtype == expected.dtype
                np.testing.assert_array_equal(ours, expected)
        assert feed.waited_s > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_belongs_to_the_caller(tmp_path, workers) -> None:
    with Feed(Numbers(tmp_path), workers) as feed:
        kept = [inputs for inputs, _, _ in islice(feed, 20)]
    assert [int(inputs[0, 0]) for inputs in kept] == list(range(20))


def test_a_second_iterator_goes_on_where_the_first_stopped(tmp_path) -> None:
    with Feed(Numbers(tmp_path), 2, start=3) as feed:
        assert numbers(feed, 4) + numbers(feed, 3) == list(range(3, 10))


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_bounded(tmp_path, workers) -> None:
    """Each worker, or the thread, computes as many batches as it has slots, and one more."""
    most = 1 + max(1, workers) * (SLOTS + 1)
    with Feed(Numbers(tmp_path), workers) as feed:
        assert numbers(feed, 1) == [0]
        wait(lambda: len(list(tmp_path.iterdir())) >= 1 + max(1, workers) * SLOTS)
        time.sleep(0.2)
        assert len(list(tmp_path.iterdir())) <= most


def test_killed_workers_are_started_again_and_the_stream_is_unchanged(tmp_path) -> None:
    with Feed(Numbers(tmp_path), 2) as feed:
        assert numbers(feed, 3) == [0, 1, 2]
        for worker in feed._source._workers:
            os.kill(worker.process.pid, signal.SIGKILL)
        assert numbers(feed, 20) == list(range(3, 23))


def test_a_worker_may_be_killed_several_times_at_one_batch_but_not_for_ever(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(feeding, "RESTARTS", 1)
    (tmp_path / "a life").touch()
    with Feed(Deadly(tmp_path), 1) as feed:
        assert numbers(feed, 8) == list(range(8))
    for life in ("first", "second"):
        (tmp_path / life).touch()
    with Feed(Deadly(tmp_path), 1) as feed, pytest.raises(HyperparameterError) as caught:
        numbers(feed, 8)
    assert caught.value.names == ("train.batch_size",)
    assert "was killed 2 times" in str(caught.value)
    assert "FOVEA_WORKERS" in str(caught.value)
    assert str(caught.value).endswith("Received: exit code -9")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("a bad image"), "ValueError: a bad image"),
        (UserError("a sentence"), "UserError: a sentence"),
        (MemoryError("too much"), "MemoryError: too much"),
        (ValueError("x" * 200_000), "ValueError: " + "x" * 200_000),  # more than a pipe holds
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_error_in_a_worker_is_the_error_of_the_feed(workers, error, raised) -> None:
    with Feed(Faulty(error), workers) as feed:
        assert numbers(feed, 5) == list(range(5))
        with pytest.raises(type(error)) as caught:
            numbers(feed, 1)
        assert f"{type(caught.value).__name__}: {caught.value}" == raised


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    with Feed(Unsendable(), 1) as feed, pytest.raises(RuntimeError) as caught:
        numbers(feed, 6)
    assert str(caught.value) == "a worker process failed. Received: LocalError: one and two"


@pytest.mark.parametrize("workers", [0, 1])
def test_keras_ends_with_the_error_of_the_batch(workers) -> None:
    """TensorFlow alone would raise an error of its own, with a traceback in its text."""
    load_keras()
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stream = Faulty(UserError("a sentence"))
    with pytest.raises(UserError, match=r"^a sentence$"), Feed(stream, workers) as feed:
        model.fit(iter(feed), steps_per_epoch=8, shuffle=False, verbose=0)


def test_an_error_in_the_first_batch_is_raised_at_once() -> None:
    with pytest.raises(ValueError, match="at once"):
        Feed(Faulty(ValueError("at once")), 2, start=5)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fails", [False, True])
def test_the_workers_end_with_the_block(tmp_path, workers, fails) -> None:
    try:
        with Feed(Numbers(tmp_path), workers) as feed:
            iterator = iter(feed)
            next(iterator)
            assert len(processes()) == workers
            begun_s = time.monotonic()
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert time.monotonic() - begun_s < 1
    assert processes() == []
    assert "/dev/shm/#" not in Path("/proc/self/maps").read_text()  # the memory is free again
    assert next(iterator, None) is None  # Keras may still ask.


def test_nothing_stays_open(tmp_path) -> None:
    def use() -> int:
        with Feed(Numbers(tmp_path), 2) as feed:
            next(iter(feed))
        return psutil.Process().num_fds()

    use()
    first = use()
    assert max(use() for _ in range(3)) <= first


def test_a_caller_that_waits_in_another_thread_is_let_go(tmp_path) -> None:
    """TensorFlow takes batches in a thread of its own, which may wait when training ends."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread, Feed(Numbers(tmp_path), 1) as feed:
        wait(lambda: len(list(tmp_path.iterdir())) > SLOTS)
        os.kill(feed._source._workers[0].process.pid, signal.SIGSTOP)
        waiting = thread.submit(lambda: sum(1 for _ in feed))
        feed._source.close()
        assert waiting.result(timeout=10) <= SLOTS
    assert processes() == []


def test_the_workers_end_if_their_parent_is_killed(tmp_path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from components.training.feeding import Feed\n"
        "from tests.components.training.streams import Numbers\n"
        "if __name__ == '__main__':\n"
        "    with Feed(Numbers(Path(sys.argv[1])), 2) as feed:\n"
        "        next(iter(feed))\n"
        "        print(*[w.process.pid for w in feed._source._workers], flush=True)\n"
        "        print(*[s._semlock.name[1:] for w in feed._source._workers "
        "for s in (w.free, w.ready)], flush=True)\n"
        "        time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        shared = [
            Path(f"/dev/shm/sem.{name}") for name in parent.stdout.readline().decode().split()
        ]
        assert all(path.exists() for path in shared)
        parent.kill()
    wait(lambda: not any(map(psutil.pid_exists, pids)))
    wait(lambda: not any(path.exists() for path in shared))


def test_without_room_in_memory_the_slots_are_in_the_folder_of_temporary_files(
    stream, tmp_path, monkeypatch
) -> None:
    """The folder /proc has no free room, as /dev/shm of a container may have too little."""
    monkeypatch.setattr(feeding, "SHARED_FOLDER", "/proc")
    monkeypatch.setattr(feeding.tempfile, "tempdir", str(tmp_path))
    with Feed(stream, 2) as feed:
        for index, batch in enumerate(islice(feed, 8)):
            np.testing.assert_array_equal(batch[0], stream.batch(index)[0])
    assert list(tmp_path.iterdir()) == []


def test_without_any_room_a_sentence_says_what_to_do(stream, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(feeding, "SHARED_FOLDER", "/proc")
    monkeypatch.setattr(feeding.tempfile, "gettempdir", lambda: "/proc")
    with pytest.raises(HyperparameterError) as caught:
        Feed(stream, 2)
    assert caught.value.names == ("train.batch_size",)
    assert "FOVEA_WORKERS" in str(caught.value)
    assert str(caught.value).endswith("Received: 0 MB in /proc and 0 MB in /proc")
    assert processes() == []


def test_without_room_for_a_semaphore_a_sentence_says_what_to_do(stream, monkeypatch) -> None:
    def full(value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feeding, "process_context", lambda name: SimpleNamespace(Semaphore=full))
    with pytest.raises(UserError, match=r"set FOVEA_WORKERS=0. Received: No space left on device"):
        Feed(stream, 2)


def test_a_folder_that_cannot_be_written_is_no_room(tmp_path) -> None:
    """As root, a test can write everywhere, so the folder does not exist."""
    assert feeding._zeros(str(tmp_path / "gone"), 1) is None


def test_a_disk_that_fills_up_is_no_room(tmp_path) -> None:
    """A limit on the size of files makes the system refuse the bytes while they are written."""
    code = (
        "import resource, sys; from components.training.feeding import _zeros\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, 1 << 21))\n"
        "print(_zeros(sys.argv[1], 3 << 20), _zeros(sys.argv[1], 2 << 20).tell())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"None {2 << 20}\n", "")


def test_the_number_of_workers_comes_from_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("FOVEA_WORKERS", raising=False)
    for cores, expected in ((1, 0), (2, 0), (4, 2), (16, 14), (200, 16)):
        monkeypatch.setattr(feeding, "cores", lambda cores=cores: cores)
        assert worker_count() == expected
    for text, expected in (("3", 3), (" 0 ", 0), ("", 16)):
        monkeypatch.setenv("FOVEA_WORKERS", text)
        assert worker_count() == expected
    for text in ("-1", "two", "1.5", "٣", "²", "1e9", "1000", "9" * 5000):
        monkeypatch.setenv("FOVEA_WORKERS", text)
        with pytest.raises(UserError, match=rf"FOVEA_WORKERS must be .* Received: {text}$"):
            worker_count()
