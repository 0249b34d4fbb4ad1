"""DVC's default remote → usable, missing, or one sentence within seconds that says why not."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.workspace import remote
from pipelines.workspace.remote import ask_remote, default_remote


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config file of a DVC repository without git, in which we are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    file = tmp_path / ".dvc/config"
    file.write_text("[core]\n    no_scm = True\n    remote = backup\n    analytics = false\n")
    return file


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a web server that has no page for a folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), NoPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class NoPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *arguments: object) -> None:
        pass

    do_HEAD = do_GET  # noqa: N815 (a name of http.server)


def add(config: Path, url: str) -> None:
    with config.open("a") as file:
        file.write(f"['remote \"backup\"']\n    url = {url}\n")


def test_the_default_remote_is_named_and_none_is_empty(config: Path) -> None:
    add(config, "/backup")
    assert default_remote() == "backup"
    config.write_text("[core]\n    no_scm = True\n")
    assert default_remote() == ""
    config.write_text("[core\n")
    with pytest.raises(UserError, match=r"`dvc remote default` fails: .*config"):
        default_remote()


def test_a_folder_answers_if_it_exists(config: Path, tmp_path: Path) -> None:
    add(config, str(tmp_path / "backup folder"))
    assert not ask_remote("backup")
    (tmp_path / "backup folder").mkdir()
    assert ask_remote("backup")


def test_a_remote_without_its_package_says_what_to_install(config: Path) -> None:
    add(config, "s3://bucket/fovea")
    with pytest.raises(UserError, match=r"run `pip install 'dvc\[s3\]==[\d.]+'`"):
        ask_remote("backup")


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(config: Path) -> None:
    add(config, "http://ann:secret@127.0.0.1:9/fovea")
    with pytest.raises(UserError) as caught:
        ask_remote("backup")
    message = str(caught.value)
    assert "Cannot connect to host 127.0.0.1:9" in message
    assert message.endswith("credentials with `dvc remote modify backup`. Received: backup")
    assert ("secret" in message, "\n" in message) == (False, False)


def test_a_server_that_accepts_and_stays_silent_is_given_up(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote.LIMIT_S <= 10
    monkeypatch.setattr(remote, "LIMIT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        add(config, f"http://127.0.0.1:{silent.getsockname()[1]}/fovea")
        started = time.monotonic()
        with pytest.raises(UserError, match=r"no answer within 2 s"):
            ask_remote("backup")
    assert time.monotonic() - started < 10


def test_a_web_server_answers_though_it_has_no_page_for_the_folder(config: Path, port: int) -> None:
    add(config, f"http://127.0.0.1:{port}/fovea")
    assert ask_remote("backup")
