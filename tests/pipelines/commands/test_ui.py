"""`fovea ui`: its port, its server, and the end of both. The whole page is an end-to-end test."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from components.errors import UserError
from pipelines.commands import ui
from tests.pipelines.commands.searches import begun_search


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
        ui._wait_until_it_answers(health, process, "MLflow's server", ui.LOG)
        process.kill()


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind((ui.HOST, 0))
        page = f"http://{ui.HOST}:{closed.getsockname()[1]}"
    sentence = r"did not start; read \.fovea/ui\.log for the reason"
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        with pytest.raises(UserError, match=sentence):
            ui._wait_until_it_answers(page, ended, "MLflow's server", ui.LOG)
    monkeypatch.setattr(ui, "START_LIMIT_S", 0.5)
    with subprocess.Popen(["sleep", "60"]) as silent:
        with pytest.raises(UserError, match=sentence):
            ui._wait_until_it_answers(page, silent, "MLflow's server", ui.LOG)
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


def processes_of(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pgid=,pid="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if line.split()[0] == str(group)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_trials_of_a_search_have_a_page_which_loads_nothing_from_elsewhere(
    how: signal.Signals, tmp_path: Path
) -> None:
    begun_search(tmp_path, trials=2)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # so MLflow's page is not served
    }
    command = [sys.executable, "-m", "pipelines.commands.fovea", "ui", "--port", "5310"]
    shown = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert shown.stdout is not None
    assert shown.stdout.readline() == "MLflow's page: http://127.0.0.1:9\n"
    page = shown.stdout.readline().split()[2]
    assert page.startswith("http://127.0.0.1:53")
    with urllib.request.urlopen(page, timeout=10) as answer:
        rules = answer.headers["Content-Security-Policy"].split(";")
    assert {"default-src 'self'", "connect-src 'self'", "frame-src 'self'"} <= set(rules)
    with urllib.request.urlopen(page.replace("/dashboard", "/api/studies"), timeout=10) as answer:
        assert [study["study_name"] for study in json.load(answer)["study_summaries"]] == ["s"]
    [server] = psutil.Process(shown.pid).children()
    assert {link.laddr.ip for link in server.net_connections() if not link.raddr} == {"127.0.0.1"}
    assert not any("study.db" in word for word in server.cmdline())
    shown.send_signal(how)
    assert shown.wait(timeout=15) == 0
    shown.stdout.close()
    assert processes_of(server.pid) == []
    assert list((tmp_path / ".fovea").glob("*.toml")) == []


def test_a_damaged_search_hides_no_page_of_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun_search(tmp_path, trials=2)
    monkeypatch.chdir(tmp_path)
    assert ui._database() == "sqlite:///.fovea/search/s/study.db"
    (tmp_path / ".fovea/search/s/search.json").write_text("{")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ui.serve(5000, None)
    printed = capsys.readouterr().out
    assert "no page of the search: .fovea/search/s/search.json: it is damaged" in printed
    assert "MLflow's page: http://127.0.0.1:9" in printed


def test_a_server_that_ends_by_itself_is_an_error() -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as lives,
        subprocess.Popen(["true"]) as ends,
        pytest.raises(UserError, match=r"^Optuna Dashboard ended by itself; .* Received: b$"),
    ):
        try:
            ui._wait_until_one_ends(
                [(lives, "MLflow", ui.LOG, "a"), (ends, "Optuna Dashboard", ui.LOG, "b")]
            )
        finally:
            lives.kill()


def test_the_address_of_a_server_is_only_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    ui.serve(5000, None)
    printed = capsys.readouterr().out
    assert "MLflow's page: http://" in printed
    assert "secret" not in printed
