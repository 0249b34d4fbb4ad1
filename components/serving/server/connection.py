"""The bytes of a connection → requests; slow, broken and too many senders are cut off.

uvicorn limits neither how long the head of a request may take nor how long an answer may lie
unread, and its own errors are plain text. One sender could take all connections with that.
"""

import asyncio
import resource
import socket
from http import HTTPStatus
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from components.serving.server.guard import LINGER_S
from components.serving.server.problems import Problem, busy

MOST = 1024  # connections
HEAD_S = 10.0  # for the head of a request, from the first byte or the end of the one before
UNREAD_S = 30.0  # how long no byte of an answer may be read


def most_connections() -> int:
    """Return how many connections are taken: MOST, or half of the files that may be open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)


class Connection(H11Protocol):
    """One connection. Its times and the number of connections have limits."""

    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _since = 0.0
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection. If there are too many, the one that was idle for longest is closed."""
        super().connection_made(transport)
        # asyncio does this only for sockets that name TCP as their protocol, which accepted ones
        # need not do. Without it, the body of an answer waits up to 40 ms for the receiver's ACK
        # of the head.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_head()
        if len(self.connections) <= most_connections():
            return
        others = cast("set[Connection]", self.connections - {self})
        idle = [o for o in others if not o.in_work and not o.transport.is_closing()]
        if idle:
            min(idle, key=lambda other: other._since).transport.abort()
        else:
            self._refuse(busy("too many connections are open"))

    @property
    def in_work(self) -> bool:
        """Return whether a request has begun and is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_head()
        self._stop_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and leave those after a refusal alone."""
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        """Start what has arrived."""
        super().handle_events()
        if self.in_work:
            self._stop_head()
        elif self._head is None and not self._refused:
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.in_work:
            self._wait_for_head()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Let a sender who has closed only its own direction have its answer."""
        if self._refused or not self.in_work or self.cycle.more_body:
            return None
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Wait for a receiver that does not read, but not for ever."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        self._stop_unread()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        text = "the request is no HTTP/1.1, or its headers have more than 64 kB; send another one"
        self._refuse(Problem(400, text))

    def _wait_for_head(self) -> None:
        self._since = self.loop.time()
        self._stop_head()
        self._head = self.loop.call_later(HEAD_S, self._give_up)

    def _wait_for_reader(self) -> None:
        self._stop_unread()
        size = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_S, self._check_reader, size)

    def _check_reader(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:  # it is slow, but it reads
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        if self.transport.is_closing():  # a part of the last answer is still unread
            self._wait_for_reader()
        elif self.conn.trailing_data[0]:
            text = f"the head of the request was not complete within {HEAD_S:g} s; send it at once"
            self._refuse(Problem(408, text))
        else:  # nothing was begun
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._refused = True
        self._stop_head()
        if self.in_work and self.cycle.response_started:
            self.transport.close()
            return
        response, status = problem.response(), HTTPStatus(problem.status)
        headers = [*response.raw_headers, (b"connection", b"close")]
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        lines += [name + b": " + value for name, value in headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(response.body)]))
        self.transport.write_eof()
        # If it was closed now, a sender who is not done would not see the answer.
        self.loop.call_later(LINGER_S, self.transport.abort)
