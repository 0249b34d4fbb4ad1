"""FOVEA_MACHINES and its companions → one training on several machines, with JAX.

Every machine has the same weights. Each computes the gradients of its share of every batch, and JAX
adds them up. Machine 0 is the first of them: the others find it at its address, it alone measures
and writes, and what a decision depends on is sent from it to the others. So all machines decide the
same, even if their processors round differently.

The machines meet before JAX starts. A machine that does not fit is sent away with one sentence, and
the others go on waiting for it. After that, a closed connection shows that a machine has ended.
"""

import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from components.errors import UserError, one_line
from components.model.backend import VARIABLE as BACKEND
from components.model.devices import join_jax, leave_jax
from components.training.checkpoints import differences

log = logging.getLogger(__name__)

COUNT, NUMBER, ADDRESS = "FOVEA_MACHINES", "FOVEA_MACHINE", "FOVEA_COORDINATOR"
LIMIT, LIMIT_S = "FOVEA_JOIN_S", "300"
RETRY_S = 0.2  # how often a machine looks whether machine 0 has started
HELLO_S = 5  # what connects and says nothing for so long is not a machine
CLOSED_S = 2  # how long the connection to a dead machine may look open
LONGEST = 1 << 20  # bytes of a message

T = TypeVar("T")


@dataclass(frozen=True)
class Machines:
    """The machines of a training, as this machine sees them.

    number: the number of this machine, from 0. count: the number of machines. address: host and
    port of machine 0. limit_s: how long a machine waits for the others. links: the connections of
    machine 0 to the machines 1, 2, …; on another machine the connection to machine 0.
    """

    number: int = 0
    count: int = 1
    address: tuple[str, int] = ("", 0)
    limit_s: int = 0
    links: tuple[Connection, ...] = ()

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return what `compute` returns on machine 0. The others only wait for it.

        All machines must call this at the same points of the training.
        """
        if self.number:
            received: T = self.links[0].recv()
            return received
        value = compute()
        for link in self.links:
            link.send(value)
        return value


ALONE = Machines()


def read_machines(environment: Mapping[str, str] = os.environ) -> Machines:
    """Return what the environment variables say; without them, this machine trains alone.

    Raises UserError if one of them is missing or wrong, or if the backend is not JAX.
    """
    names = (COUNT, NUMBER, ADDRESS)
    count, number, address = (environment.get(name, "").strip() for name in names)
    if not (count or number or address):
        return ALONE
    if environment.get(BACKEND, "").strip() != "jax":
        raise UserError(
            f"only Keras' backend JAX trains on several machines; set {BACKEND}=jax, or unset "
            f"{COUNT}, {NUMBER} and {ADDRESS}. Received: {COUNT}={count}"
        )
    limit = environment.get(LIMIT, "").strip() or LIMIT_S
    found = re.fullmatch(r"(\S+):(\d+)", address)
    whole = all(text.isascii() and text.isdecimal() for text in (count, number, limit))
    if not (found and whole and int(number) < int(count)):
        raise UserError(
            f"{COUNT} must be the number of machines, {NUMBER} the number of this machine, from 0, "
            f"{ADDRESS} the host and port of machine 0, such as node0:4711, and {LIMIT} a number "
            f"of seconds; correct them, or unset all. Received: {COUNT}={count} {NUMBER}={number} "
            f"{ADDRESS}={address} {LIMIT}={limit}"
        )
    return Machines(int(number), int(count), (found[1], int(found[2])), int(limit))


@contextmanager
def joined(machines: Machines, facts: Mapping[str, str]) -> Iterator[Machines]:
    """Join the other machines for the `with` statement, before Keras is started.

    facts: name → value of what must be the same on all machines.
    Raises UserError if the machines do not find each other, if their facts differ, or if another
    machine ends inside of the `with` statement.
    """
    if machines.count == 1:
        yield machines
        return
    log.info(f"machine {machines.number} waits for all {machines.count} machines")
    links, address = (_visit if machines.number else _receive)(machines, facts)
    try:
        join_jax(address, machines.count, machines.number)
        yield replace(machines, links=links)
        leave_jax()
    except UserError:
        raise
    except Exception as error:
        others = [0] if machines.number else range(1, machines.count)
        for number, link in zip(others, links, strict=True):
            if _is_closed(link, CLOSED_S):
                raise lost_machine(f"machine {number}", one_line(error)) from None
        raise
    finally:
        for link in links:
            link.close()


def lost_machine(name: str, received: str) -> UserError:
    """Return the error of a training that cannot go on, because another machine has ended."""
    return UserError(
        f"{name} has ended or cannot be reached; look at its messages, and start the same command "
        "again on every machine: training goes on after the last checkpoint. "
        f"Received: {received}"
    )


def _receive(machines: Machines, facts: Mapping[str, str]) -> tuple[tuple[Connection, ...], str]:
    """Wait on machine 0 for the others. Return the connections to them, and the address for JAX."""
    deadline_s = time.monotonic() + machines.limit_s
    guests: dict[int, Connection] = {}
    reason = "nothing from it"
    with _listen(machines.address) as server:
        while missing := [n for n in range(1, machines.count) if n not in guests]:
            server.settimeout(max(deadline_s - time.monotonic(), 0.001))
            try:
                link = _link(server.accept()[0])
            except TimeoutError:
                raise UserError(
                    f"machine {missing[0]} has not joined in {machines.limit_s} s; start all "
                    f"machines again, within {LIMIT} seconds. Received: {reason}"
                ) from None
            guest = _read(link, HELLO_S)
            guests = {n: one for n, one in guests.items() if not _is_closed(one, 0)}
            if fault := _fault(guest, machines, facts, guests):
                log.warning(f"a machine was sent away: {fault}")
                reason = fault
                _send(link, {"fault": fault})
            else:
                guests[guest["number"]] = link
    host = machines.address[0]
    with _listen((host, 0)) as free:
        address = f"{host}:{free.getsockname()[1]}"
    links = tuple(guests[number] for number in sorted(guests))
    for link in links:
        _send(link, {"address": address})
    return links, address


def _fault(
    guest: Mapping[str, Any],
    machines: Machines,
    facts: Mapping[str, str],
    guests: Mapping[int, Any],
) -> str:
    """Return why a machine cannot join, as a sentence; empty if it can."""
    number, count = guest.get("number"), guest.get("count")
    if isinstance(number, int) and count != machines.count:
        return (
            f"{COUNT} must be the same on every machine. Received: {machines.count} on machine 0, "
            f"{count} on machine {number}"
        )
    if number not in range(1, machines.count):
        return f"what connects to {ADDRESS} must be a machine of the training. Received: {guest}"
    if number in guests:
        return f"every machine needs a {NUMBER} of its own. Received: {number} on two machines"
    if differing := differences(facts, guest.get("facts", {})):
        return (
            "every machine needs the params, data, code and packages of machine 0; copy them, and "
            f"start the machine again. Received: machine {number} differs in {', '.join(differing)}"
        )
    return ""


def _visit(machines: Machines, facts: Mapping[str, str]) -> tuple[tuple[Connection, ...], str]:
    """Connect to machine 0, and wait until all machines are there. Return as `_receive`."""
    link = _connect(machines)
    _send(link, {"number": machines.number, "count": machines.count, "facts": dict(facts)})
    # Machine 0 may have started later than this machine.
    answer = _read(link, machines.limit_s + HELLO_S)
    if "address" in answer:
        return (link,), answer["address"]
    raise UserError(
        answer.get("fault")
        or f"machine 0 has ended, or another program answers at {ADDRESS}; start all machines "
        f"again. Received: {_text(machines.address)}: {answer.get('received')}"
    )


def _connect(machines: Machines) -> Connection:
    deadline_s = time.monotonic() + machines.limit_s
    while True:
        try:
            return _link(socket.create_connection(machines.address, HELLO_S))
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise UserError(
                    f"machine 0 has not answered at {ADDRESS} in {machines.limit_s} s; start it, "
                    f"or correct the address. Received: {_text(machines.address)}: {error}"
                ) from None
        time.sleep(RETRY_S)


def _listen(address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address)
    except OSError as error:
        raise UserError(
            f"machine 0 cannot wait for the others at {ADDRESS}; set it on every machine to an "
            "address of machine 0 and a port that no program uses. "
            f"Received: {_text(address)}: {error.strerror}"
        ) from None


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _link(connected: socket.socket) -> Connection:
    connected.settimeout(None)
    return Connection(connected.detach())


def _send(link: Connection, message: Mapping[str, Any]) -> None:
    try:
        link.send_bytes(json.dumps(message).encode())
    except OSError:
        log.warning("a machine has ended before all machines had joined")


def _read(link: Connection, limit_s: float) -> dict[str, Any]:
    """Return the next message. Anyone can connect, so it is JSON, which runs no code."""
    try:
        message = json.loads(link.recv_bytes(LONGEST)) if link.poll(limit_s) else "nothing"
    except (EOFError, OSError, ValueError) as error:
        message = one_line(error) or "the connection was closed"
    return message if isinstance(message, dict) else {"received": message}


def _is_closed(link: Connection, wait_s: float) -> bool:
    """Return whether the other end is closed. What it has sent before that is dropped."""
    try:
        while link.poll(wait_s):
            link.recv_bytes()
    except (EOFError, OSError):
        return True
    return False
