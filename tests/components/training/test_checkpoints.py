"""Checkpoints: written whole, verified, of one training only. No network is needed for these."""

import errno
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from components.training.checkpoints import KEPT, TRAININGS, Checkpoint, Checkpoints

ROOT = Path(__file__).parents[3]
VARIABLES = [("conv/kernel", (2, 3)), ("dropout/seed", ())]
KEY = {"train.seed": "1", "images": 64 * "a"}
# Writes checkpoints of 8 MB into the folder that it is given, one after the other.
WRITE = (
    "import sys, numpy as np; from pathlib import Path\n"
    "from components.training.checkpoints import Checkpoint, Checkpoints\n"
    f"store = Checkpoints(Path(sys.argv[1]), {KEY!r})\n"
    f"store.newest({VARIABLES!r})\n"
    "for number in range(1, 1000):\n"
    "    array = np.full(2_000_000, number, np.float32)\n"
    f"    store.write(Checkpoint({VARIABLES!r}, {{'epoch': number}}, {{'model': [array]}}))\n"
)


@pytest.fixture
def store(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    return Checkpoints(tmp_path / "checkpoints", KEY)


def state(epoch=1, variables=VARIABLES):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3) + epoch
    arrays = {"model": [weights, np.uint32(epoch)[()]], "phase": []}
    return Checkpoint(variables, {"epoch": epoch, "value": -np.inf, "loss": 0.1 + 0.2}, arrays)


def files(store):
    return sorted(store.folder.glob("*.checkpoint"))


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_checkpoint_comes_back_as_it_was(store):
    assert store.newest(VARIABLES) is None
    store.write(state())
    found = store.newest(VARIABLES)
    assert found.facts == state().facts
    assert found.arrays["phase"] == []
    for array, expected in zip(found.arrays["model"], state().arrays["model"], strict=True):
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(array, expected)


def test_the_last_two_are_kept_and_the_newest_is_used(store):
    store.newest(VARIABLES)
    for epoch in range(1, 13):
        store.write(state(epoch))
    assert len(files(store)) == KEPT
    assert store.newest(VARIABLES).facts["epoch"] == 12


@pytest.mark.parametrize("position", [0, 35, 41, -1])
def test_of_a_damaged_checkpoint_one_sentence_speaks_and_the_older_one_is_used(
    store, position, caplog
):
    store.newest(VARIABLES)
    store.write(state(1))
    store.write(state(2))
    newest = files(store)[-1]
    flip(newest, position)
    caplog.clear()
    assert store.newest(VARIABLES).facts["epoch"] == 1
    assert caplog.messages == [
        f"the checkpoint {newest} is damaged; the checkpoint before it is used"
    ]
    assert not newest.exists()
    store.write(state(2))
    assert store.newest(VARIABLES).facts["epoch"] == 2


@pytest.mark.parametrize("size", [0, 20, 32, 39])
def test_a_checkpoint_that_is_too_short_is_damaged(store, size, caplog):
    store.newest(VARIABLES)
    store.write(state())
    file = files(store)[0]
    content = file.read_bytes()[32:size]
    file.write_bytes((hashlib.sha256(content).digest() + content)[:size])
    assert store.newest(VARIABLES) is None
    assert caplog.messages[-1] == f"the checkpoint {file} is damaged; training begins anew"


def test_a_checkpoint_that_was_copied_from_another_training_is_not_used(store, caplog):
    other = Checkpoints(store.root, {**KEY, "train.seed": "2"})
    for training in (other, store):
        training.newest(VARIABLES)
        training.write(state())
    copy = shutil.copy(files(other)[0], store.folder / "000002.checkpoint")
    caplog.clear()
    assert store.newest(VARIABLES).facts == state().facts
    assert caplog.messages == [
        f"the checkpoint {copy} is of another training, or of another version of Fovea; "
        "the checkpoint before it is used"
    ]


def test_files_of_other_names_are_left_alone(store):
    store.newest(VARIABLES)
    store.write(state())
    other = store.folder / "000001 (copy).checkpoint"
    other.touch()
    assert store.newest(VARIABLES) is not None
    store.write(state(2))
    assert other.exists()


def test_a_checkpoint_that_may_not_be_read_is_kept(store, monkeypatch):
    store.newest(VARIABLES)
    store.write(state())

    def refuse(path):  # As root, a test can read every file.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(Path, "read_bytes", refuse)
        store.newest(VARIABLES)
    assert store.newest(VARIABLES) is not None


def test_without_a_good_checkpoint_training_begins_anew_and_says_so(store, caplog):
    store.newest(VARIABLES)
    store.write(state(1))
    store.write(state(2))
    for file in files(store):
        file.write_bytes(file.read_bytes()[:-1])
    caplog.clear()
    assert store.newest(VARIABLES) is None
    assert [text.partition("; ")[2] for text in caplog.messages] == [
        "the checkpoint before it is used",
        "training begins anew",
    ]


def test_a_checkpoint_of_another_architecture_is_not_used(store, caplog):
    store.newest(VARIABLES)
    store.write(state(variables=[("conv/kernel", (3, 3)), ("dropout/seed", ())]))
    assert store.newest(VARIABLES) is None
    assert caplog.messages[-1].endswith("is of another architecture; training begins anew")


def test_another_key_begins_anew_and_says_what_differs(store, caplog):
    store.newest(VARIABLES)
    store.write(state())
    other = Checkpoints(store.root, {**KEY, "train.seed": "2", "images": 64 * "b"})
    assert other.newest(VARIABLES) is None
    assert caplog.messages[-1] == (
        "an unfinished training does not go on, and training begins anew, because this differs: "
        "images, train.seed (1 → 2)"
    )
    caplog.clear()
    assert store.newest(VARIABLES) is not None
    assert caplog.messages == []


def test_a_finished_training_leaves_nothing_and_is_not_mentioned(store, caplog):
    store.newest(VARIABLES)
    store.write(state())
    store.remove()
    caplog.clear()
    assert Checkpoints(store.root, {**KEY, "train.seed": "2"}).newest(VARIABLES) is None
    assert caplog.messages == []
    assert not store.folder.exists()


def test_a_training_without_a_checkpoint_is_not_mentioned(store, caplog):
    store.newest(VARIABLES)
    assert Checkpoints(store.root, {**KEY, "train.seed": "2"}).newest(VARIABLES) is None
    assert caplog.messages == []


def test_the_folders_of_the_oldest_trainings_are_deleted(store):
    trainings = [Checkpoints(store.root, {"train.seed": str(seed)}) for seed in range(6)]
    for number, training in enumerate(trainings):
        training.newest(VARIABLES)
        training.write(state())
        os.utime(training.folder, (number, number))
    kept = {path.name for path in store.root.iterdir() if path.is_dir()}
    assert kept == {training.folder.name for training in trainings[-TRAININGS:]}


def start_writing(folder, before=""):
    return subprocess.Popen(
        [sys.executable, "-c", before + WRITE, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_while_checkpoints_are_written_leaves_a_good_one(store):
    process = start_writing(store.root)
    while len(files(store)) < KEPT:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = store.newest(VARIABLES)
    assert found.facts["epoch"] >= KEPT
    assert np.all(found.arrays["model"][0] == found.facts["epoch"])
    store.write(state())
    assert len(list(store.folder.iterdir())) == KEPT + 1  # and key.json: no part is left


def test_a_full_disk_names_the_path_and_the_bytes_and_keeps_the_older_checkpoint(store):
    """A real limit on the size of a file stands for the disk: the write fails half-way."""
    store.newest(VARIABLES)
    store.write(state())
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    )
    _, said = start_writing(store.root, limit).communicate()
    last = said.strip().splitlines()[-1]
    assert last.startswith("components.errors.UserError: a checkpoint of the training cannot be ")
    assert "Received: File too large, for 8,000," in last
    assert last.endswith(f" bytes in {store.folder / '000002.checkpoint'}")
    assert [path.name for path in files(store)] == ["000001.checkpoint"]
    assert store.newest(VARIABLES).facts["epoch"] == 1
