"""The benchmark of the search: what its figures are, and that its parts run on small pictures."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.errors import UserError
from components.params.search import HEAD
from tests.benchmarks.recipes.results import Results
from tests.benchmarks.recipes.sets import photographs
from tests.benchmarks.search import __main__ as search
from tests.benchmarks.search.cases import QUICK_SIZES, Case, Sizes
from tests.benchmarks.search.parts import Maker, digest
from tests.benchmarks.search.peers import check_peer
from tests.benchmarks.search.picture import draw
from tests.benchmarks.search.searches import Memory, best_so_far, run_process
from tests.benchmarks.search.tables import tables


def result(part: str, change: str, kind: str = "ours", **more: Any) -> dict[str, Any]:
    """Return a line of the file of results."""
    names = {"data": "trashnet-224", "seed": 1, "recipe": part, "change": change, "kind": kind}
    facts = {"git.commit": "0123456789abcdef", "git.dirty": "no", "load": [0.1, 0.1, 0.1]}
    return {**names, **facts, "processor": "x86_64; a fast one; avx", "budget_s": 900.0, **more}


def trials(ended: Sequence[float], values: Sequence[float]) -> list[dict[str, Any]]:
    """Return complete trials that a worker has taken half a second before they ended."""
    return [
        {
            "number": number,
            "state": "complete",
            "value": value,
            "epochs": 9,
            "began": end - 0.5,
            "ended": end,
            "overrides": {},
        }
        for number, (end, value) in enumerate(zip(ended, values, strict=True))
    ]


def row(text: str, start: str) -> str:
    """Return the only row of the tables that starts so, without its start."""
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return found.removeprefix(f"| {start}")


def rivals(ours: list[list[float]]) -> list[dict[str, Any]]:
    peer = [[50, 0.7, 0], [100, 0.8, 1], [200, 0.8, 2], [300, 0.85, 3], [400, 0.85, 4]]
    return [
        result("naive", "ours", events=ours),
        result("naive", "optuna", "optuna", events=peer),
    ]


def test_we_pass_a_peer_when_our_best_value_is_above_that_of_its_whole_budget() -> None:
    text = tables(rivals([[20, 0.82, 1], [59, 0.85, 2], [60.4, 0.86, 3], [401, 0.86, 999]]))
    assert row(text, "ours ") == "| 999 | 0.8600 | 60 |"
    assert row(text, "optuna ") == "| 4 | 0.8500 | 300 |"
    assert row(text, "seconds in which we pass") == " the best value of optuna | 60 | ≤ 60 | no |"
    assert row(text, "our trials in the time of") == " 4 of optuna, 400 s | 3 | ≥ 100 | no |"
    never = tables(rivals([[20, 0.85, 1]]))
    assert row(never, "seconds in which").endswith("| never | ≤ 60 | no |")


def test_trials_after_the_budget_do_not_count() -> None:
    late = trials([10.0, 20.0, 31.0], [0.6, 0.5, 0.9])
    assert best_so_far(late, 30.0) == [[10.0, 0.6, 1], [20.0, 0.6, 2]]


def test_the_first_trials_of_the_workers_do_not_count() -> None:
    ended = [40.0, *(41.0 + 2 * n for n in range(6))]  # 5 trials in 10 seconds after the second
    values = [0.5] * 7
    one = result("workers", "1 worker on one core", trials=trials(ended, values), begin=2)
    faster = trials([40 + (end - 40) / 2 for end in ended], [*values[:-1], 0.6])
    two = result("workers", "2 workers on two cores", trials=faster, begin=2)
    text = tables([one, two])
    assert row(text, "1 worker on one core") == " | 30.0 |"
    assert row(text, "2 workers on two cores") == " | 60.0 |"
    assert row(text, "two workers / one") == " | 2.00 | ≥ 1.7 | yes |"
    assert row(text, "trials that are not equal") == " | 1 | 0 | no |"


def test_the_overhead_is_that_of_a_further_trial() -> None:
    sizes = {"worker_mb": 1000.0, "coordinator_mb": 300.0, "processes": 3}
    heads = trials([20.0, 22.0, 23.0, 25.0], [0.5] * 4)  # 5 seconds for 3 trials
    bare = {"seconds": [9.0, 1.3, 1.5], "values": [0.5, 0.5, 0.4]}
    lines = [
        result("overhead", "heads", trials=heads, wall_s=32.0, **sizes),
        result("overhead", "heads without a search", **bare),
        result(
            "overhead", "few heads", trials=heads[:2], **{**sizes, "worker_mb": 800.0}, wall_s=1.0
        ),
    ]
    text = tables(lines)
    assert row(text, "heads ") == "| 1.67 | 0.50 | 1.40 | 27.00 | 3 |"
    assert row(text, "more, for a head, s") == " | 0.27 | ≤ 0.3 | yes |"
    assert row(text, "trainings alone with another value") == " | 1 | 0 | no |"
    memory = "peak memory of worker and coordinator with 2 and 4 trials, MB"
    found = "1100 and 1300, +18.2% (800 and 1000, 300 and 300)"
    assert row(text, memory) == f" | {found} | ≤ +10% | no |"


def test_a_stopped_trial_may_be_better_than_the_best_by_chance_only() -> None:
    found = [*trials([9.0, 9.5, 9.9], [0.8, 0.7, 0.6])]
    found[1]["state"] = found[2]["state"] = "pruned"
    lines = [result("pruning", "search", trials=found)]
    lines += [result("pruning", f"trial {n}", values=[v]) for n, v in ((1, 0.811), (2, 0.809))]
    for seed, value in ((2, 0.79), (3, 0.8), (4, 0.81)):  # their standard deviation is 0.01
        lines.append(result("pruning", f"best trial, seed {seed}", values=[value]))
    text = tables(lines)
    assert "trial 0 with 0.8000; standard deviation over seeds 0.0100." in text
    assert row(text, "1 ") == "| 9 | 0.7000 | 0.8110 | +0.0110 |"
    name = "stopped trials better than the best by a standard deviation"
    assert row(text, name) == " | 1 | 0 | no |"


def test_the_picture_has_each_search_and_equal_results_give_equal_text() -> None:
    lines = rivals([[20, 0.82, 1], [59, 0.85, 2]])
    pictures = draw(lines)
    assert pictures == draw(lines)
    (text,) = pictures.values()
    assert {"Fovea", "Optuna and Keras"} <= set(re.findall(r"<!-- (.*?) -->", text))
    assert draw(lines[:1]) == {}


def test_a_peer_that_is_not_installed_is_named_with_the_command_for_it() -> None:
    if find_spec("keras_tuner"):
        pytest.skip("KerasTuner is installed here")
    with pytest.raises(
        UserError, match=r"pip install --no-deps keras-tuner .* Received: no module"
    ):
        check_peer("kerastuner")


def test_a_process_is_ended_after_its_budget_and_a_failed_one_is_an_error(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert run_process(["-c", "import time; time.sleep(60)"], lambda pid: None, 0.3) < 10
        with pytest.raises(UserError, match=r"Received: ValueError: no images"):
            run_process(["-c", "raise ValueError('no images')"], lambda pid: None, 60.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to a core")
def test_a_worker_is_held_to_its_core_and_the_coordinator_is_not() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, "pipelines.search_worker"]
    core, before = min(os.sched_getaffinity(0)), os.sched_getaffinity(0)
    memory = Memory(core)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        worker.stdout.readline()
        memory.look(os.getpid())
        assert psutil.Process(worker.pid).cpu_affinity() == [core]
        worker.communicate()
    assert os.sched_getaffinity(0) == before
    assert memory.workers == {worker.pid}
    assert 0 < memory.worker < memory.coordinator


def test_all_searches_have_params_that_are_allowed(tmp_path: Path) -> None:
    data = photographs("trashnet", tmp_path, few=False)
    for quick, sizes in ((False, Sizes()), (True, QUICK_SIZES)):
        case = Case(data, tmp_path, 3, 60.0, 5, sizes, quick)
        made = [case.rivalry(), case.heads(9), case.finetunes(), case.pruning()]
        assert [params.search.first_rung for params in made] == [HEAD, HEAD, "all", "all"]
        assert [params.search.minutes for params in made] == [1.0, 0.0, 0.0, 0.0]
        assert {params.train.seed for params in made} == {3}
        assert len({digest(params, {}) for params in [*made, case.heads(8)]}) == 5


def test_parts_share_an_equal_search_and_nothing_else(tmp_path: Path) -> None:
    data = photographs("trashnet", tmp_path, few=False)
    case = Case(data, tmp_path, 1, 60.0, 5, QUICK_SIZES, quick=True)
    results, params = Results(tmp_path / "results.jsonl"), case.rivalry()
    naive, other = (Maker(case, results, part) for part in ("naive", "kerastuner"))
    two = naive.key("ours", params, "ours", {"workers": 2})
    results.add({**two, "wall_s": 3.0})
    assert results.find(other.key("ours", params, "ours", {"workers": 2}))
    assert results.lines[-1] == {**two, "wall_s": 3.0, "recipe": "kerastuner"}
    assert results.find(naive.key("ours", params, "ours", {"workers": 1})) is None
    assert results.find(naive.key("ours", case.heads(2), "ours", {"workers": 2})) is None
    assert results.find(naive.key("ours", params, "optuna", {"workers": 2})) is None


@pytest.mark.slow
def test_a_part_runs_on_small_pictures_and_is_not_computed_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    parts = ["naive", "pruning"]
    search.main([*parts, "--quick", "--epochs", "2", "--results", str(file)])
    lines = list(map(json.loads, file.read_text().splitlines()))
    by_change = {line["change"]: line for line in lines}
    assert by_change["ours"]["events"][-1][2] == by_change["optuna"]["events"][-1][2] == 3
    found = by_change["search"]["trials"]
    states = [trial["state"] for trial in found]
    assert len(found) == 14
    assert "pruned" in states
    assert sum(change.startswith("best trial") for change in by_change) == 2
    for trial in found:
        if (again := by_change.get(f"trial {trial['number']}")) and trial["state"] == "pruned":
            assert again["values"][0] >= trial["value"]
    assert (tmp_path / "results.trashnet-16-seed1.svg").read_text().startswith("<?xml")
    capfd.readouterr()
    search.main([*parts, "--quick", "--epochs", "2", "--results", str(file)])
    assert list(map(json.loads, file.read_text().splitlines())) == lines
    assert "### Trials that the median rule has stopped" in capfd.readouterr().out
