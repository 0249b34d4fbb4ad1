"""A real MLflow server that can be stopped and killed, and a proxy before it that can fail."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal


class Server:
    """`mlflow server` on loopback, with its store and its files in a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(self.uri)

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the server. After SIGKILL, wait for their end."""
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait(timeout=20)


class Proxy:
    """Passes requests on to a server; or answers 500, with or without passing them on.

    mode: `deaf` passes a request on. If it is no GET, it then says 500, so the sender cannot tell
    that it arrived. broken: a request with this text in its path is answered with 500.
    """

    def __init__(self, server: Server) -> None:
        self.mode: Literal["pass", "fail", "deaf"] = "pass"
        self.broken = ""
        self.unheard: list[str] = []  # the requests that were passed on, and answered with 500
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content, kind = 500, b"broken", "text/plain"
                broken = proxy.broken and proxy.broken in self.path
                if proxy.mode != "fail" and not broken:
                    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                    link.request(self.command, self.path, body, dict(self.headers))
                    got = link.getresponse()
                    answered = got.status, got.read(), got.headers.get_content_type()
                    link.close()
                    if proxy.mode == "pass" or self.command == "GET":
                        status, content, kind = answered
                    else:
                        proxy.unheard.append(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
