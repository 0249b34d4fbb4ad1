"""FOVEA_MACHINES and its companions: how machines find each other, and what they say if not."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from components.errors import UserError
from components.training import machines
from components.training.machines import ALONE, Machines, joined, read_machines

SET = {
    "FOVEA_MACHINES": "2",
    "FOVEA_MACHINE": "1",
    "FOVEA_COORDINATOR": "node0:4711",
    "KERAS_BACKEND": "jax",
}
FACTS = {"train.seed": "1", "images": 64 * "a"}
Place = tuple[Machines, dict[str, str]]


@pytest.fixture(autouse=True)
def _no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the machines are threads. A process can be only one machine of JAX."""
    monkeypatch.setattr(machines, "join_jax", lambda address, count, number: None)
    monkeypatch.setattr(machines, "leave_jax", lambda: None)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def at(port: int, number: int, count: int = 2, limit_s: int = 5) -> Machines:
    return Machines(number, count, ("127.0.0.1", port), limit_s)


def first_number(together: Machines) -> Any:
    return together.from_first(lambda: {"number": together.number})


def outcomes(
    *places: Place, work: Callable[[Machines], Any] = first_number, pause_s: float = 0
) -> list[Any]:
    """Start the machines one after the other; return for each what `work` returns, or its error."""

    def outcome(machine: Machines, facts: dict[str, str]) -> Any:
        try:
            with joined(machine, facts) as together:
                return work(together)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(len(places)) as pool:
        started = []
        for place in places:
            started.append(pool.submit(outcome, *place))
            time.sleep(pause_s)
        return [one.result() for one in started]


def test_all_machines_get_what_the_first_computes(port: int) -> None:
    places = [(at(port, number, 3), FACTS) for number in (2, 0, 1)]
    assert outcomes(*places) == 3 * [{"number": 0}]


def test_a_machine_that_does_not_come_is_named(port: int) -> None:
    [error] = outcomes((at(port, 0, limit_s=0), FACTS))
    assert error.startswith("machine 1 has not joined in 0 s; start all machines again")
    [error] = outcomes((at(port, 1, limit_s=0), FACTS))
    assert error.startswith("machine 0 has not answered at FOVEA_COORDINATOR in 0 s; start it")
    assert f"Received: 127.0.0.1:{port}: " in error


def test_two_machines_with_one_number_are_told_apart(port: int) -> None:
    first, second, third = (at(port, number, 3, 1) for number in (0, 1, 1))
    zero, one, late = outcomes((first, FACTS), (second, FACTS), (third, FACTS), pause_s=0.3)
    assert late == "every machine needs a FOVEA_MACHINE of its own. Received: 1 on two machines"
    assert zero.startswith("machine 2 has not joined in 1 s") and zero.endswith(late)
    assert one.startswith("machine 0 has ended")


@pytest.mark.parametrize(
    ("count", "facts", "sentence"),
    [
        (2, {"train.seed": "2"}, r"Received: machine 1 differs in images, train\.seed \(1 → 2\)$"),
        (4, FACTS, r"FOVEA_MACHINES must .*Received: 2 on machine 0, 4 on machine 1$"),
    ],
)
def test_a_machine_that_does_not_fit_can_be_corrected_and_started_again(
    port: int, count: int, facts: dict[str, str], sentence: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcomes, (at(port, 0), FACTS))
        with pytest.raises(UserError, match=sentence), joined(at(port, 1, count), facts):
            pass
        assert outcomes((at(port, 1), FACTS)) == first.result() == [{"number": 0}]


def test_a_machine_that_was_stopped_while_it_waited_is_not_missed(port: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcomes, (at(port, 0, 3), FACTS))
        stopped = machines._connect(at(port, 1, 3))
        machines._send(stopped, {"number": 1, "count": 3, "facts": FACTS})
        stopped.close()
        assert outcomes(*[(at(port, number, 3), FACTS) for number in (1, 2)]) == 2 * first.result()


def test_a_port_in_use_is_named_on_machine_0() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        used = other.getsockname()[1]
        [error] = outcomes((at(used, 0), FACTS))
        assert error.startswith("machine 0 cannot wait for the others at FOVEA_COORDINATOR")
        assert f"Received: 127.0.0.1:{used}: Address already in use" in error


def test_another_program_at_the_port_is_not_machine_0() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(outcomes, (at(other.getsockname()[1], 1), FACTS))
        with other.accept()[0] as connected:
            connected.sendall(b"SSH-2.0-OpenSSH\r\n")
        assert "another program answers at FOVEA_COORDINATOR" in waiting.result()[0]


def test_what_is_no_machine_does_not_keep_machine_0_from_waiting(port: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcomes, (at(port, 0), FACTS))
        machines._connect(at(port, 1)).close()
        stranger = machines._connect(at(port, 1))
        machines._send(stranger, {"number": [], "facts": 1})
        assert outcomes((at(port, 1), FACTS)) == first.result() == [{"number": 0}]
        stranger.close()


@pytest.mark.parametrize("lost", [0, 1])
def test_an_error_of_jax_after_the_end_of_a_machine_names_the_machine(port: int, lost: int) -> None:
    def work(together: Machines) -> None:
        if together.number == lost:
            raise UserError("the disk is full")
        raise RuntimeError("Gloo AllGather failed: Connection reset by peer")

    places = [(at(port, number), FACTS) for number in (0, 1)]
    left = outcomes(*places, work=work)[1 - lost]
    assert left.startswith(f"machine {lost} has ended or cannot be reached")
    assert "start the same command again on every machine: training goes on after the last" in left
    assert left.endswith("Received: Gloo AllGather failed: Connection reset by peer")


def test_an_error_of_ours_keeps_its_traceback(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "CLOSED_S", 0.1)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        other = pool.submit(outcomes, (at(port, 1), FACTS), work=lambda m: time.sleep(0.5))
        with joined(at(port, 0), FACTS):
            raise ZeroDivisionError
    assert other.result() == [None]


def test_without_the_variables_a_machine_is_alone() -> None:
    assert read_machines({"KERAS_BACKEND": "jax", "FOVEA_JOIN_S": "9"}) is ALONE
    with joined(ALONE, {}) as together:
        assert together.from_first(lambda: 1) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOVEA_COORDINATOR", ""),
        ("FOVEA_COORDINATOR", "node1"),
        ("FOVEA_MACHINES", "two"),
        ("FOVEA_MACHINE", "2"),
        ("FOVEA_MACHINE", ""),
        ("FOVEA_JOIN_S", "-1"),
    ],
)
def test_a_wrong_variable_is_refused(name: str, value: str) -> None:
    assert read_machines(SET) == Machines(1, 2, ("node0", 4711), 300)
    with pytest.raises(UserError, match=rf"Received: .*{name}={value}"):
        read_machines(SET | {name: value})


def test_tensorflow_is_refused() -> None:
    sentence = r"only Keras' backend JAX .*set KERAS_BACKEND=jax.*Received: FOVEA_MACHINES=2$"
    with pytest.raises(UserError, match=sentence):
        read_machines(SET | {"KERAS_BACKEND": ""})
