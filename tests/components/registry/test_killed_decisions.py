"""Real processes decide on versions: they are killed at each step, or decide at the same moment.

A process that imports MLflow takes seconds. So one process imports it, and a copy of this process
(`os.fork`) makes each decision.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.registry.promotion import promote

ROOT = Path(__file__).parents[3]
# Below, `decide(words)` is what a process does, and `stop_after` kills it after n writes to MLflow.
DRIVER = '''
import json, os, shutil, signal, sys
import mlflow
from components.errors import UserError
from components.registry import promotion
from components.registry.hand_moves import note_hand_move
from components.registry.standing import history
from components.registry.versions import champion, download, find_version

WRITES = ("set_registered_model_tag", "set_registered_model_alias",
          "delete_registered_model_alias", "set_model_version_tag")

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def stop_after(number):
    """Kill this process after `number` writes to MLflow."""
    left = [number]
    def counted(write):
        def counting(*arguments, **named):
            if left[0] == 0:
                kill()
            done = write(*arguments, **named)
            left[0] -= 1
            return done
        return counting
    for name in WRITES:
        setattr(mlflow.MlflowClient, name, counted(getattr(mlflow.MlflowClient, name)))

def decide(command, *arguments):
    getattr(promotion, command)("digits", *arguments)

def start(task):
    """Run `task` in a copy of this process and return its number."""
    child = os.fork()
    if child:
        return child
    try:
        task()
    except UserError as error:
        print(error, file=sys.stderr)
        os._exit(3)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(4)
    os._exit(0)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def standing():
    """What another process then sees: the champion, and the events."""
    def look():
        note_hand_move("digits")
        held = champion("digits")
        if held is not None:
            download(held)
        events = [(e.kind, e.to_version, e.superseded) for e in history("digits")]
        with open("seen.json", "w") as file:
            json.dump([held and held.number, events], file)
    assert ended(start(look)) == 0
    with open("seen.json") as file:
        return json.load(file)
'''
KILLS = """
words, seen = json.loads(sys.argv[1]), []
status, writes = -9, 0
while status == -9:
    shutil.copy("before.db", "mlflow.db")
    def killed():
        stop_after(writes)
        decide(*words)
    status = ended(start(killed))
    first = standing()
    again = ended(start(lambda: decide(*words)))
    seen.append([status, first, again, standing()])
    writes += 1
print(json.dumps(seen))
"""
RACES = """
seen = []
for _ in range(int(sys.argv[1])):
    shutil.copy("before.db", "mlflow.db")
    waiting, go = os.pipe()
    def promoting(number):
        def task():
            find_version("digits", number)  # The store is open, so the two decide together.
            os.read(waiting, 1)
            decide("promote", number, "better", "Ann")
        return start(task)
    both = [promoting("2"), promoting("3")]
    os.write(go, b"go")
    seen.append([[ended(child) for child in both], standing()])
print(json.dumps(seen))
"""


@pytest.fixture
def two_judged(workspace: Path, registered: Callable[..., int]) -> None:
    """Version 1 is the champion; 2 and 3 were compared with it and may replace it."""
    registered(b"one")
    for content in (b"two", b"three"):
        registered(content, compared_with="1")
    promote("digits", "1", "first", "Ann")


def run(program: str, argument: str) -> Any:
    shutil.copy("mlflow.db", "before.db")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER + program, argument],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_promotion_that_is_killed_at_any_step_leaves_the_old_or_the_new_champion(
    two_judged: None,
) -> None:
    seen = run(KILLS, json.dumps(["promote", "2", "better", "Ann"]))
    *killed, finished = seen
    assert len(killed) == 5  # event, alias, tag of the move, two tags of the version
    assert finished[0] == 0
    for status, (champion, events), again, (at_last, record) in killed:
        assert status == -9
        assert champion in (1, 2)
        assert {kind for kind, *_ in events + record} == {"promote"}  # nothing was "by hand"
        assert again in (0, 3)  # 3: version 2 is the champion already
        assert (at_last, record[-1][1]) == (2, 2)


@pytest.mark.slow
def test_a_rollback_that_is_killed_at_any_step_leaves_the_old_or_the_new_champion(
    two_judged: None,
) -> None:
    promote("digits", "2", "better", "Ann")
    seen = run(KILLS, json.dumps(["rollback", "wrong alarms", "Ann"]))
    *killed, finished = seen
    assert len(killed) == 5
    assert finished[:2] == [0, [1, [["promote", 1, False], ["promote", 2, False],
                                    ["rollback", 1, False]]]]  # fmt: skip
    for status, (champion, events), again, (at_last, record) in killed:
        assert status == -9
        assert champion in (1, 2)
        assert {kind for kind, *_ in events + record} == {"promote", "rollback"}
        assert again in (0, 3)  # 3: version 1 has no champion before it
        assert (at_last, record[-1][1]) == (1, 1)


@pytest.mark.slow
def test_of_two_promoters_at_once_one_wins_and_the_alias_is_on_its_version(
    two_judged: None,
) -> None:
    for statuses, (champion, events) in run(RACES, "8"):
        assert sorted(statuses) == [0, 3]
        assert champion == (2, 3)[statuses.index(0)]
        counted = [(kind, to) for kind, to, superseded in events if not superseded]
        assert counted == [("promote", 1), ("promote", champion)]
