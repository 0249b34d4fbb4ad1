"""`fovea ui`: its port, its server, and the end of both. The whole page is an end-to-end test."""

import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.commands import ui


@pytest.fixture
def health() -> Iterator[str]:
    """The address of a server that answers every request."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer((ui.HOST, 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{ui.HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of Python, which says how it was called, and waits."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@"\nexec sleep 60\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ui.sys, "executable", str(program))


def test_a_port_in_use_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ui._free_port(port) > port
        monkeypatch.setattr(ui, "PORTS_TRIED", 1)
        with pytest.raises(UserError, match=rf"--port\. Received: {port}$"):
            ui._free_port(port)


def test_the_page_is_ready_when_its_server_answers(health: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        ui._wait_until_it_answers(health, process)
        process.kill()


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind((ui.HOST, 0))
        page = f"http://{ui.HOST}:{closed.getsockname()[1]}"
    sentence = r"did not start; read \.fovea/ui\.log for the reason"
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        with pytest.raises(UserError, match=sentence):
            ui._wait_until_it_answers(page, ended)
    monkeypatch.setattr(ui, "START_LIMIT_S", 0.5)
    with subprocess.Popen(["sleep", "60"]) as silent:
        with pytest.raises(UserError, match=sentence):
            ui._wait_until_it_answers(page, silent)
        silent.kill()


def test_the_server_listens_on_this_machine_only_and_ends_with_the_page(stand_in: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ui._server("http://127.0.0.1:4711") as process:
        while "mlflow" not in ui.LOG.read_text():
            assert process.poll() is None
        os.kill(os.getpid(), signal.SIGTERM)
    assert process.poll() is not None
    assert "-m mlflow server --host 127.0.0.1 --port 4711 --workers 1" in ui.LOG.read_text()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_address_of_a_server_is_only_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    ui.serve(5000, None)
    printed = capsys.readouterr().out
    assert "MLflow's page: http://" in printed
    assert "secret" not in printed
