"""Flow runs as workers of a search: a real Prefect server, and the states that workers report."""

import contextvars
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from components.errors import UserError
from components.search.workers import MOST_FAILURES
from pipelines import search_on_prefect
from pipelines.search_on_prefect import PrefectWorkers, worker_name
from tests.pipelines.flow_runs import states


@pytest.fixture
def started(
    deployment: UUID, prefect_api: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., PrefectWorkers]:
    """A function that makes the workers of a study, which ask the server in each call of `tend`."""
    monkeypatch.setattr(search_on_prefect, "ASK_S", 0.0)

    def make(count: int = 2, **parameters: str) -> PrefectWorkers:
        return PrefectWorkers(count, prefect_api, deployment, "gpu", tmp_path.name, parameters)

    return make


def set_state(run: UUID, state: Any) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, state, force=True)


def test_as_many_flow_runs_start_as_trials_wait_and_workers_are_asked_for(started, tmp_path):
    workers = started(count=2)
    workers.tend(1, 0)
    assert list(states(tmp_path.name).values()) == ["SCHEDULED"]
    workers.tend(5, 0)
    workers.tend(5, 0)
    assert list(states(tmp_path.name).values()) == ["SCHEDULED"] * 2


def test_a_crashed_flow_run_is_reported_once_and_replaced(started, tmp_path):
    from prefect.states import Crashed, Running

    workers = started(count=1)
    workers.tend(1, 0)
    (run,) = states(tmp_path.name)
    set_state(run, Running())
    assert workers.tend(1, 0) == []
    set_state(run, Crashed(message="the node is gone"))
    (ended,) = workers.tend(1, 0)
    assert (ended.worker, ended.cause) == (
        worker_name(run),
        "its flow run is Crashed: the node is gone",
    )
    assert workers.tend(1, 0) == []
    assert sorted(states(tmp_path.name).values()) == ["CRASHED", "SCHEDULED"]


def test_flow_runs_that_fail_again_and_again_end_the_search_with_their_sentence(started, tmp_path):
    from prefect.states import Failed

    workers = started(count=1)
    with pytest.raises(UserError, match=r"end again and again.*another commit"):
        for _ in range(20):
            workers.tend(1, 0)
            for run, state in states(tmp_path.name).items():
                if state == "SCHEDULED":
                    set_state(run, Failed(message="another commit"))
    assert len(states(tmp_path.name)) == MOST_FAILURES + 1


def end_all(workers, tag, state, completed=0):
    """Start a flow run and end it. Return how the workers have ended."""
    workers.tend(1, completed)
    for run, before in states(tag).items():
        if before == "SCHEDULED":
            set_state(run, state)
    return workers.tend(1, completed)


def test_flow_runs_that_fail_between_complete_trainings_do_not_end_the_search(started, tmp_path):
    from prefect.states import Failed

    workers = started(count=1)
    for completed in range(MOST_FAILURES + 3):
        (ended,) = end_all(workers, tmp_path.name, Failed(message="on gpu-2: disk full"), completed)
        assert ended.failed
        assert ended.cause == "its flow run is Failed: on gpu-2: disk full"


def test_workers_that_are_killed_are_replaced_without_end(started, tmp_path):
    from prefect.states import Crashed, Running

    workers = started(count=1)
    for _ in range(MOST_FAILURES + 3):
        assert end_all(workers, tmp_path.name, Running()) == []
        (run,) = [run for run, state in states(tmp_path.name).items() if state == "RUNNING"]
        set_state(run, Crashed(message="exited with -9"))
        (ended,) = workers.tend(1, 0)
        assert not ended.failed


def test_a_flow_run_that_crashes_before_it_begins_has_failed(started, tmp_path):
    from prefect.states import Crashed

    (ended,) = end_all(started(count=1), tmp_path.name, Crashed(message="no such image"))
    assert ended.failed


def test_a_search_that_goes_on_takes_over_its_flow_runs_but_none_with_other_inputs(
    started, tmp_path
):
    started(count=2, inputs="a").tend(2, 0)
    before = states(tmp_path.name)
    started(count=2, inputs="a").tend(2, 0)
    assert states(tmp_path.name) == before
    started(count=1, inputs="b").tend(1, 0)
    after = states(tmp_path.name)
    assert [after[run] for run in before] == ["CANCELLED"] * 2
    assert [after[run] for run in after.keys() - before] == ["SCHEDULED"]


def test_a_silent_worker_is_replaced_and_its_place_in_the_pool_is_given_back(started, tmp_path):
    from prefect.states import Running

    with pytest.raises(KeyboardInterrupt), started(count=1) as workers:
        workers.tend(1, 0)
        (run,) = states(tmp_path.name)
        set_state(run, Running())
        workers.tend(1, 0)
        workers.kill("another machine:1:0")
        assert states(tmp_path.name) == {run: "RUNNING"}
        workers.kill(worker_name(run))
        assert [ended.worker for ended in workers.tend(1, 0)] == [worker_name(run)]
        assert states(tmp_path.name)[run] == "CANCELLING"  # No Prefect worker is there to end it.
        assert len(states(tmp_path.name)) == 2
        raise KeyboardInterrupt
    assert set(states(tmp_path.name).values()) == {"CANCELLED"}


def test_workers_that_see_the_end_of_the_search_are_not_cancelled(started, tmp_path):
    from prefect.client.orchestration import get_client
    from prefect.states import Completed, Running

    with started(count=1) as workers:
        workers.tend(1, 0)
        (run,) = states(tmp_path.name)
        set_state(run, Running())
        # The thread has the settings of this one, such as the address of the server.
        see_the_end = partial(contextvars.copy_context().run, set_state, run, Completed())
        timer = threading.Timer(0.5, see_the_end)
        timer.start()
    timer.join()
    with get_client(sync_client=True) as client:
        history = [state.type.value for state in client.read_flow_run_states(run)]
    assert history == ["SCHEDULED", "RUNNING", "COMPLETED"]


def test_a_flow_run_that_has_ended_keeps_its_end(started, tmp_path):
    """One machine was believed dead, and then ends by itself."""
    from prefect.states import Completed, Crashed, Running

    with pytest.raises(KeyboardInterrupt), started(count=2) as workers:
        workers.tend(2, 0)
        late, dead = states(tmp_path.name)
        for run in (late, dead):
            set_state(run, Running())
        workers.kill(worker_name(late))
        set_state(late, Completed())
        set_state(dead, Crashed())
        workers.kill(worker_name(dead))
        raise KeyboardInterrupt
    assert states(tmp_path.name) == {late: "COMPLETED", dead: "CRASHED"}


def test_a_flow_run_that_nobody_takes_is_said_once(started, tmp_path, monkeypatch, caplog):
    from prefect.states import Running

    monkeypatch.setattr(search_on_prefect, "PICKED_UP_S", 1.0)
    workers = started(count=2)
    workers.tend(2, 0)
    set_state(next(iter(states(tmp_path.name))), Running())
    workers.tend(2, 0)
    assert not caplog.records
    time.sleep(1.0)
    workers.tend(2, 0)
    workers.tend(2, 0)
    (record,) = caplog.records
    assert "1 of 2 flow runs of the search wait" in record.message
    assert "prefect worker start --pool gpu" in record.message


def test_a_server_that_is_away_is_said_once_and_ends_nothing(started, prefect_api, caplog):
    workers = started()
    for times in (1, 2):
        workers._api = "http://127.0.0.1:9/api"
        assert workers.tend(1, 0) == workers.tend(1, 0) == []
        assert len(caplog.records) == times
        workers._api = prefect_api
        assert workers.tend(0, 0) == []
    assert {record.message.partition(" about")[0] for record in caplog.records} == {
        "Prefect's server cannot be asked"
    }


@pytest.mark.usefixtures("prefect_api")
def test_a_worker_with_other_code_refuses_before_it_fetches_anything():
    from pipelines.search_flow import search_worker

    state = search_worker.fn(inputs="0" * 64, commit="0" * 40)
    assert state.is_failed()
    assert state.message.startswith(f"on {os.uname().nodename}: FOVEA_SEARCH_EXECUTOR: ")
