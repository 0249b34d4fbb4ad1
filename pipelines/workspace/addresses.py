"""The address of a server → a UserError within some seconds if no server answers there."""

import re
import urllib.error
import urllib.request
from collections.abc import Mapping

from components.deadline import call_within
from components.errors import UserError, one_line
from components.tracking.connection import without_password

# A command must say within 15 s that a server does not answer. The rest of this time is for the
# start of Python and for the imports of a command.
LIMIT_S = 6.0
# Environment variable → the server at its address, and what is used if the variable is not set.
SERVERS = {
    "PREFECT_API_URL": ("Prefect's server", "a server for this run only"),
    "MLFLOW_TRACKING_URI": ("MLflow's server", "mlflow.db in this folder"),
}
# Such as `127.0.0.1:5000`, which MLflow would take for the path of a folder.
HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/|$)")
# A proxy answers with one of these statuses if the server behind it does not answer.
NOBODY_BEHIND_THE_PROXY = (502, 503, 504)


def check_servers(environment: Mapping[str, str]) -> None:
    """Check that a server answers at each address in the environment variables of SERVERS.

    Raises UserError after at most LIMIT_S seconds if one of them does not answer.
    """
    for variable in SERVERS:
        check_server(variable, environment.get(variable) or "")


def check_server(variable: str, url: str) -> None:
    """Check that a server answers at an address, whatever it answers.

    variable: the environment variable for the address, a key of SERVERS.
    url: the address. If it does not start with `http://` or `https://`, it is not checked, because
    MLflow's records may also be in a file or a database. Prefect's address must start so, and so
    must a host with a port.
    Raises UserError after at most LIMIT_S seconds if there is no answer, or if a web page answers
    instead of Prefect.
    """
    if not url.lower().startswith(("http://", "https://")):
        if (url and variable == "PREFECT_API_URL") or HOST_AND_PORT.match(url):
            raise UserError(
                f"{variable} must start with http:// or https://; correct it, or unset it. "
                f"Received: {url}"
            )
        return
    try:
        kind = call_within(LIMIT_S, lambda: _ask(url))
    except (OSError, ValueError) as error:  # urllib's errors and TimeoutError are OSErrors.
        reason = one_line(getattr(error, "reason", error))
        name, instead = SERVERS[variable]
        raise UserError(
            f"{name} does not answer ({reason}); start it, correct {variable}, or unset "
            f"{variable} to use {instead}. Received: {without_password(url)}"
        ) from None

    # Without `/api`, Prefect's server answers every address with its page.
    if variable == "PREFECT_API_URL" and kind == "text/html":
        raise UserError(
            f"a web page answers at {variable}, and not Prefect's server; the address usually ends "
            f"with /api, such as http://127.0.0.1:4200/api. Received: {without_password(url)}"
        )


def answers(url: str, limit_s: float) -> bool:
    """Return whether a server answers at an address within `limit_s` seconds."""
    try:
        call_within(limit_s, lambda: _ask(url))
    except (OSError, ValueError):  # urllib's errors and TimeoutError are OSErrors.
        return False
    return True


def _ask(url: str) -> str:
    """Ask for `url`/health, and return the content type of the answer; "" after an error status.

    Raises OSError without an answer, and ValueError if `url` is not valid.
    """
    request = urllib.request.Request(f"{without_password(url).rstrip('/')}/health")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return str(answer.headers.get_content_type())
    except urllib.error.HTTPError as error:
        # Another status, such as 401 or 404, is also the answer of a server.
        if error.code in NOBODY_BEHIND_THE_PROXY:
            raise
        return ""
