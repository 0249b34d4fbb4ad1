"""The address of a server → a sentence within seconds if no server answers there."""

import http.server
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from components.errors import UserError
from pipelines.workspace import addresses
from pipelines.workspace.addresses import check_server, check_servers
from pipelines.workspace.environment import direct_loopback
from pipelines.workspace.processes import stage_environment

DEAD = "http://127.0.0.1:9"
# Every library through which Fovea, Prefect, MLflow or Keras asks a server.
ASK = """
import sys, urllib.request, httpx, requests
from pipelines.workspace.environment import quiet_vendors
quiet_vendors()
port = sys.argv[1]
print(urllib.request.urlopen(f"http://127.0.0.1:{port}/health").status)
for host in ("127.0.0.1", "localhost"):
    print(httpx.get(f"http://{host}:{port}/health").status_code)
    print(requests.get(f"http://{host}:{port}/health").status_code)
"""


class Answer(http.server.BaseHTTPRequestHandler):
    status = 200
    kind = "application/json"

    def do_GET(self) -> None:
        self.send_response(self.status if self.path.endswith("/health") else 500)
        self.send_header("Content-Length", "0")
        self.send_header("Content-Type", self.kind)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a real server on this machine, which answers with `Answer.status`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_port_where_nobody_listens_is_one_sentence_without_the_password() -> None:
    with pytest.raises(UserError) as caught:
        check_servers({"MLFLOW_TRACKING_URI": "http://ann:secret@127.0.0.1:9"})
    assert re.sub(r"\[Errno \d+\] ", "", str(caught.value)) == (
        "MLflow's server does not answer (Connection refused); start it, correct "
        "MLFLOW_TRACKING_URI, or unset MLFLOW_TRACKING_URI to use mlflow.db in this folder. "
        f"Received: {DEAD}"
    )


@pytest.mark.parametrize("address", ["http://no.such.host.invalid/api", "http://[::1", "http://"])
def test_an_address_that_cannot_be_one_is_the_same_sentence(address: str) -> None:
    with pytest.raises(UserError, match=r"Prefect's server does not answer \(.+\); start it"):
        check_server("PREFECT_API_URL", address)


def test_a_server_that_accepts_and_stays_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(UserError, match="Prefect's server does not answer"):
            check_server("PREFECT_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/api")
    assert time.monotonic() - started < 5
    assert addresses.LIMIT_S < 15


@pytest.mark.parametrize("status", [200, 401, 404])
def test_any_answer_of_a_server_is_an_answer(
    port: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    check_server("PREFECT_API_URL", f"http://ann:secret@127.0.0.1:{port}/api/")


def test_the_answer_of_a_proxy_with_nobody_behind_it_is_none(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "status", 502)
    with pytest.raises(UserError, match="does not answer"):
        check_server("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")


def test_prefects_address_without_api_is_not_prefects_server(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "kind", "text/html; charset=utf-8")
    address = f"http://127.0.0.1:{port}"
    with pytest.raises(UserError, match=rf"usually ends with /api.* Received: {address}$"):
        check_server("PREFECT_API_URL", address)
    check_server("MLFLOW_TRACKING_URI", address)


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("PREFECT_API_URL", "prefect.example"),
        ("PREFECT_API_URL", "127.0.0.1:4200/api"),
        ("MLFLOW_TRACKING_URI", "127.0.0.1:5000"),
        ("MLFLOW_TRACKING_URI", "localhost:5000/"),
    ],
)
def test_an_address_without_http_is_named(variable: str, address: str) -> None:
    with pytest.raises(UserError, match=rf"{variable} must start with http.* Received: {address}$"):
        check_server(variable, address)


@pytest.mark.parametrize("address", ["", "sqlite:///mlflow.db", "postgresql://db/mlflow"])
def test_what_is_no_web_address_is_left_to_the_library(address: str) -> None:
    check_server("MLFLOW_TRACKING_URI", address)


def test_a_dead_proxy_is_not_asked_for_servers_on_this_machine(port: int) -> None:
    environment = stage_environment(dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), DEAD))
    environment = {name: environment[name] for name in environment if name.lower() != "no_proxy"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(port)], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["200"] * 5, done.stderr


def test_what_the_user_excludes_from_the_proxy_stays_excluded() -> None:
    proxy = {"HTTPS_PROXY": "http://proxy:8080"}
    assert direct_loopback({}) == {}
    assert direct_loopback({"NO_PROXY": "intranet"}) == {}
    assert direct_loopback({**proxy, "no_proxy": " a , localhost"}) == dict.fromkeys(
        ("NO_PROXY", "no_proxy"), "a,localhost,127.0.0.1,::1"
    )
    assert direct_loopback({**proxy, "NO_PROXY": "*"})["no_proxy"] == "*"


def test_stages_get_the_exception_for_this_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert stage_environment({})["NO_PROXY"] == "127.0.0.1,localhost,::1"
