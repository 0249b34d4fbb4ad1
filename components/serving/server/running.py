"""An application and a socket → requests are answered until Ctrl-C or SIGTERM."""

import socket

from fastapi import FastAPI

# The names under which a server on this machine may be asked.
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
GRACE_S = 30  # after the signal, requests that have begun may take so long


def run_app(app: FastAPI, listening: socket.socket) -> None:
    """Answer requests; after Ctrl-C or SIGTERM, finish those that have begun."""
    import uvicorn

    from components.serving.server.connection import Connection

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=Connection,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])
