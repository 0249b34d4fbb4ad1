"""A number of workers → flow runs of the deployment `search-worker`, which run trials anywhere.

`PrefectWorkers` does for other machines what `components.search.executor.LocalWorkers` does for
this one. A flow run that ends with an error is replaced. A machine that dies says nothing: the
coordinator's Watch notices it, and calls `kill`.

The flow runs of a study have its name as a tag. So a search that goes on after its process was
killed finds the workers that still work for it.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import UUID

from components.errors import UserError, one_line
from components.search.executor import STOP_S
from components.search.workers import Ended, Failures
from components.tracking.connection import without_password
from pipelines.workspace.addresses import answers

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger(__name__)

ASK_S = 2.0  # seconds between two questions to Prefect's server
SERVER_LIMIT_S = 3.0  # a server that does not answer within this time counts as gone
PICKED_UP_S = 30.0  # a flow run that no Prefect worker has taken after this time is reported
LONGEST = 1000  # characters of the message of a flow run, such as a sentence with two others in it
WAITING = ("SCHEDULED", "PENDING")
ACTIVE = (*WAITING, "RUNNING")
WORKER = "flow run "  # the start of the name of a worker; the rest is the id of its flow run


def worker_name(flow_run: object) -> str:
    """Return the name that a worker has in the study. flow_run: the id of its flow run."""
    return f"{WORKER}{flow_run}"


class PrefectWorkers:
    """Workers that are flow runs of a deployment, in a `with` statement.

    count: how many there are at the same time. api: the address of Prefect's server. deployment:
    its id. pool: the name of its work pool. study: the name of the study. parameters: those of the
    flow.
    """

    def __init__(
        self,
        count: int,
        api: str,
        deployment: UUID,
        pool: str,
        study: str,
        parameters: Mapping[str, str],
    ) -> None:
        self.count, self._api, self._deployment, self._pool = count, api, deployment, pool
        self._tag, self._parameters = f"study: {study}", dict(parameters)
        self._seen: dict[UUID, float] = {}  # active flow run → when it was first seen
        self._killed: set[UUID] = set()
        self._failures = Failures()
        self._next_s = 0.0
        self._said_waiting = False
        self._said_away = ""

    def __enter__(self) -> "PrefectWorkers":
        """Start nothing: `tend` starts the flow runs."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the workers have seen the end of the search, and cancel those that have not.

        After an error or Ctrl-C they are cancelled at once; they then give their trials back.
        """
        deadline = time.monotonic() + (0.0 if error else STOP_S)

        def end(client: "SyncPrefectClient") -> None:
            while (runs := self._active(client)) and time.monotonic() < deadline:
                time.sleep(0.5)
            _cancel(client, runs)
            for run in self._killed:
                _release_slot(client, run)

        self._ask(end)

    def tend(self, wanted: int, completed: int) -> list[Ended]:
        """Start flow runs until `wanted` are active, and return those that failed or crashed.

        Prefect's server is asked every ASK_S seconds. If it does not answer, the workers that there
        are go on, and this is logged.
        completed: see `Workers`. Raises UserError if flow runs fail again and again, and none is
        active.
        """
        if time.monotonic() < self._next_s:
            return []
        self._next_s = time.monotonic() + ASK_S
        ended: list[Ended] = []
        self._ask(lambda client: self._tend(client, wanted, completed, ended))
        return ended

    def kill(self, worker: str) -> None:
        """Cancel the flow run of a worker without a sign of life, so that it is replaced."""
        if worker.startswith(WORKER):
            run = UUID(worker.removeprefix(WORKER))
            self._killed.add(run)
            self._ask(lambda client: _cancel(client, [client.read_flow_run(run)]))

    def _tend(
        self, client: "SyncPrefectClient", wanted: int, completed: int, ended: list[Ended]
    ) -> None:
        runs = self._active(client)
        for gone in self._seen.keys() - {run.id for run in runs}:
            ended += _ended(client.read_flow_run(gone))
            del self._seen[gone]
        if self._failures.too_many(ended, completed, len(runs)):
            return
        for _ in range(min(wanted, self.count) - len(runs)):
            runs.append(
                client.create_flow_run_from_deployment(
                    self._deployment, parameters=self._parameters, tags=[self._tag]
                )
            )
        now = time.monotonic()
        for run in runs:
            self._seen.setdefault(run.id, now)
        self._say_if_none_works(runs)

    def _active(self, client: "SyncPrefectClient") -> "list[FlowRun]":
        """Return the flow runs of the study that work or wait. Cancel those with other inputs."""
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
            FlowRunFilterTags,
        )
        from prefect.client.schemas.objects import StateType

        types = FlowRunFilterStateType(any_=[StateType(name) for name in ACTIVE])
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[self._tag]), state=FlowRunFilterState(type=types)
        )
        found: list[FlowRun] = []
        while page := client.read_flow_runs(flow_run_filter=wanted, offset=len(found)):
            found += page
        _cancel(client, [run for run in found if run.parameters != self._parameters])
        return [run for run in found if run.parameters == self._parameters]

    def _say_if_none_works(self, runs: "Sequence[FlowRun]") -> None:
        late = time.monotonic() - PICKED_UP_S
        waiting = [
            run
            for run in runs
            if self._seen[run.id] < late and run.state and run.state.type.value in WAITING
        ]
        if waiting and not self._said_waiting:
            self._said_waiting = True
            log.warning(
                f"{len(waiting)} of {len(runs)} flow runs of the search wait for more than "
                f"{PICKED_UP_S:g} s for a worker of the work pool {self._pool}; the search goes on "
                f"waiting; start one on a machine: prefect worker start --pool {self._pool} "
                "--limit 1"
            )

    def _ask(self, question: "Callable[[SyncPrefectClient], None]") -> None:
        """Call a function that asks Prefect's server. If it does not answer, log this once."""
        from prefect.client.orchestration import get_client

        why = "it does not answer"
        if answers(self._api, SERVER_LIMIT_S):
            try:
                with get_client(sync_client=True) as client:
                    question(client)
                self._said_away = ""
                return
            except UserError:
                raise
            except Exception as error:  # Prefect and its HTTP client have no common class.
                why = one_line(f"{type(error).__name__}: {error}")
        if why != self._said_away:
            self._said_away = why
            log.warning(
                "Prefect's server cannot be asked about the workers of the search, which go on. "
                f"Received: {without_password(self._api)}, {why}"
            )


def _ended(run: "FlowRun") -> list[Ended]:
    """Return how a flow run has ended, if not as it should."""
    state = run.state
    if state is None or state.is_completed():
        return []
    # A flow run that crashes before it begins, such as one whose image is missing, has failed. One
    # that crashes later was killed.
    failed = state.is_failed() or (state.is_crashed() and run.run_count == 0)
    cause = one_line(state.message or "no message", LONGEST)
    return [Ended(worker_name(run.id), f"its flow run is {state.name}: {cause}", failed)]


def _cancel(client: "SyncPrefectClient", runs: "Sequence[FlowRun]") -> None:
    """Let Prefect's workers end flow runs that are active."""
    from prefect.states import Cancelling

    for run in runs:
        if run.state and run.state.type.value in ACTIVE:
            client.set_flow_run_state(run.id, Cancelling())


def _release_slot(client: "SyncPrefectClient", run: UUID) -> None:
    """Declare a flow run cancelled whose machine has died.

    Otherwise it would take a place of the work pool for ever, because no Prefect worker ends it.
    """
    from prefect.states import Cancelled

    state = client.read_flow_run(run).state
    if state and state.is_cancelling():
        client.set_flow_run_state(run, Cancelled(), force=True)
