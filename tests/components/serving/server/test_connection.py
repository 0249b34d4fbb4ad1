"""Slow, broken, silent and too many senders are cut off, with one sentence where it can be sent."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn

from components.serving.metrics import Metrics
from components.serving.server import connection as room
from components.serving.server.connection import Connection
from components.serving.server.guard import Guard

LARGE = 20_000_000  # bytes of the answer to /large, more than the system keeps for a connection
HOST = b"Host: 127.0.0.1\r\n"
Connect = Callable[[bytes], socket.socket]


async def app(scope, receive, send) -> None:
    """Answer at once, after the body, or with many bytes; `/slow` takes half a second."""
    if scope["path"] == "/body":
        while (await receive())["more_body"]:
            pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    content = b"x" * LARGE if scope["path"] == "/large" else scope["path"].encode()
    status = 413 if scope["path"] == "/early" else 200
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[uvicorn.Server]:
    monkeypatch.setattr(room, "HEAD_S", 0.4)
    monkeypatch.setattr(room, "UNREAD_S", 0.4)
    guarded = Guard(app, Metrics(), "", ("*",), ())
    config = uvicorn.Config(guarded, http=Connection, ws="none", log_config=None, lifespan="off")
    started = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=started.run, kwargs={"sockets": [listening]})
        thread.start()
        while not started.started:
            time.sleep(0.01)
        started.address = listening.getsockname()  # type: ignore[attr-defined]
        yield started
        started.should_exit = True
        thread.join()


@pytest.fixture
def connect(server: uvicorn.Server) -> Iterator[Connect]:
    opened = []

    def connected(sent: bytes) -> socket.socket:
        opened.append(socket.create_connection(server.address, timeout=10))  # type: ignore[attr-defined]
        opened[-1].sendall(sent)
        return opened[-1]

    yield connected
    for connection in opened:
        connection.close()


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    found = b""
    while chunk := connection.recv(65536):
        found += chunk
    return found


def read_until(connection: socket.socket, end: bytes) -> None:
    """Read an answer that ends so; it may come in parts."""
    found = b""
    while not found.endswith(end):
        chunk = connection.recv(65536)
        assert chunk, found
        found += chunk


def problem(answer: bytes) -> tuple[int, str]:
    """Return the status and the sentence of a problem."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head
    return int(head.split()[1]), json.loads(body)["detail"]


def test_a_head_that_comes_too_slowly_is_a_problem(connect: Connect) -> None:
    connection, begun = connect(b"GET / HT"), time.monotonic()
    for _ in range(3):  # bytes now and then do not help
        time.sleep(0.1)
        connection.sendall(b"T")
    status, text = problem(read_all(connection))
    assert (status, time.monotonic() - begun < 2) == (408, True)
    assert text.startswith("the head of the request was not complete within 0.4 s")


def test_a_second_head_has_the_same_time(connect: Connect) -> None:
    connection, begun = connect(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\nGET / HT"), time.monotonic()
    answers = read_all(connection)
    assert time.monotonic() - begun < 2
    first, _, second = answers.partition(b"/a")
    assert first.startswith(b"HTTP/1.1 200")
    assert problem(second)[0] == 408


def test_a_body_that_goes_on_after_its_answer_ends(connect: Connect) -> None:
    connection = connect(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n")
    until = time.monotonic() + 8
    with pytest.raises(ConnectionError):
        while time.monotonic() < until:
            connection.sendall(b"1\r\nx\r\n")
            time.sleep(0.01)


def test_a_connection_without_a_request_is_closed_without_a_word(connect: Connect) -> None:
    assert read_all(connect(b"")) == b""
    connection = connect(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
    assert read_all(connection).endswith(b"\r\n\r\n/a")


def test_a_request_may_take_longer_than_its_head(connect: Connect) -> None:
    connection = connect(
        b"POST /body HTTP/1.1\r\nContent-Length: 8\r\nConnection: close\r\n" + HOST
    )
    connection.sendall(b"\r\n")
    for _ in range(8):
        time.sleep(0.1)
        connection.sendall(b"x")
    assert read_all(connection).endswith(b"/body")
    slow = connect(b"GET /slow HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    assert read_all(slow).endswith(b"/slow")


def test_what_is_no_http_is_a_problem(connect: Connect) -> None:
    for sent in (
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 600_000 + b"\r\n\r\n",
        b"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\nzz\r\n",
    ):
        status, text = problem(read_all(connect(sent)))
        assert status == 400
        assert "is no HTTP/1.1, or its headers have more than 64 kB" in text


def test_a_sender_who_has_closed_its_direction_gets_its_answer(connect: Connect) -> None:
    connection = connect(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
    connection.shutdown(socket.SHUT_WR)
    assert read_all(connection).endswith(b"/slow")
    half = connect(b"POST /body HTTP/1.1\r\nContent-Length: 8\r\n" + HOST + b"\r\nx")
    half.shutdown(socket.SHUT_WR)
    assert read_all(half) == b""


def test_an_answer_before_the_end_of_the_body_arrives(connect: Connect) -> None:
    """Closing at once would reset the connection, and the sender would see no answer."""
    length = 30_000_000
    head = f"POST /early HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n"
    connection = connect(head.encode() + HOST + b"\r\n")
    for _ in range(length // 1_000_000):
        connection.sendall(b"x" * 1_000_000)
    assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_receiver_that_does_not_read_is_cut_off(server: uvicorn.Server, connect: Connect) -> None:
    connection = connect(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
    wait_for(lambda: server.server_state.connections)
    wait_for(lambda: not server.server_state.connections)
    assert len(read_all(connection)) < LARGE
    assert len(read_all(connect(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n"))) > LARGE


def test_the_longest_idle_connection_gives_way_and_none_in_work_does(
    server: uvicorn.Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HEAD_S", 10.0)
    monkeypatch.setattr(room, "most_connections", lambda: 3)
    slow = b"GET /slow HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    idle = []
    for sent in (b"GET", slow, b"GET"):
        idle.append(connect(sent))
        wait_for(lambda: len(server.server_state.connections) == len(idle))
    third = connect(slow)
    assert read_all(idle[0]) == b""
    fourth = connect(slow)
    assert read_all(idle[2]) == b""
    status, text = problem(read_all(connect(b"")))
    assert (status, "too many connections" in text) == (503, True)
    for connection in (idle[1], third, fourth):
        assert read_all(connection).endswith(b"/slow")


def test_the_body_of_an_answer_does_not_wait_for_an_ack(
    server: uvicorn.Server, connect: Connect
) -> None:
    connect(b"")
    wait_for(lambda: server.server_state.connections)
    [made] = server.server_state.connections
    accepted = made.transport.get_extra_info("socket")  # type: ignore[union-attr]
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_connection_is_idle_from_its_last_answer(
    server: uvicorn.Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HEAD_S", 10.0)
    monkeypatch.setattr(room, "most_connections", lambda: 2)
    asked = connect(b"")
    wait_for(lambda: len(server.server_state.connections) == 1)
    silent = connect(b"")
    wait_for(lambda: len(server.server_state.connections) == 2)
    asked.sendall(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
    read_until(asked, b"\r\n\r\n/a")
    connect(b"")
    assert read_all(silent) == b""
    asked.sendall(b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n")
    read_until(asked, b"\r\n\r\n/b")


def test_the_limit_of_open_files_bounds_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in (
        (100, 50),
        (10_000, 1024),
        (room.resource.RLIM_INFINITY, 1024),
    ):
        monkeypatch.setattr(room.resource, "getrlimit", lambda _, n=files: (n, n))
        assert room.most_connections() == expected


def wait_for(done: Callable[[], object], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)
