"""Environment variables of this process → the same, and variables that switch off telemetry.

Some of the added variables hide unimportant messages of libraries. A variable that is already set
keeps its value. So a user can switch telemetry on. Only NO_PROXY is changed, not replaced: it also
names this machine, if the variables name a proxy.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from components.errors import UserError
from components.words import printable

QUIET = {
    "DO_NOT_TRACK": "1",  # Prefect's client and MLflow read this variable.
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    # Prefect shows the messages of these loggers in the task run or flow run that wrote them.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components,pipelines",
    # A message that is logged outside of a flow run is not sent to Prefect.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # hides messages of TensorFlow when it starts
    "ABSL_MIN_LOG_LEVEL": "2",
}


PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Names of this machine. Servers that listen here, such as Prefect's temporary server, are not
# behind a proxy.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def quiet_vendors() -> None:
    """Set the variables of QUIET that are not set, and the variables of `direct_loopback`.

    Call this before the libraries are imported.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.update(direct_loopback(os.environ))


def direct_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY and no_proxy with the names of this machine, if a proxy is set.

    Libraries read one of the two names, and Python prefers `no_proxy`, so both get the same value.
    Without a proxy the result is empty. On macOS, Python would otherwise no longer use the proxy of
    the system settings.

    >>> direct_loopback({"HTTP_PROXY": "http://proxy:8080", "NO_PROXY": "intranet"})["no_proxy"]
    'intranet,127.0.0.1,localhost,::1'
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in PROXIES):
        return {}
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host for host in map(str.strip, given.split(",")) if host]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(hosts))


def check_encoding() -> None:
    """Raise UserError if the current folder has a path that MLflow would write in two encodings.

    With the locale C or Latin-1, Python reads names of files in this encoding. MLflow writes paths
    into its store as UTF-8. So artifacts below a path such as `/home/jörg` would not be found.
    """
    encoding, here = sys.getfilesystemencoding(), str(Path.cwd())
    if encoding != "utf-8" and not here.isascii():
        raise UserError(
            f"Python reads the names of files as {encoding}, because of LC_ALL or LANG, but the "
            "path of this folder is UTF-8; run `export PYTHONUTF8=1` first. "
            f"Received: {printable(here)}"
        )


def check_prefect_home(environment: Mapping[str, str] = os.environ) -> None:
    """Raise UserError if Prefect would start a temporary server and cannot write its database.

    Also raises UserError if this user has no home folder and PREFECT_HOME is not set.

    Without this check, Prefect waits for its server for a minute and then raises an error without
    the reason. The usual cause is a home folder that is read-only, as in many containers. Prefect
    writes the path into an address without quoting, so a `?` would cut the path: a database at
    another place would be used.
    """
    home = expand_home(environment.get("PREFECT_HOME") or "~/.prefect")
    profiles = home / "profiles.toml"  # it may name the address of a server
    named = os.access(profiles, os.R_OK) and "PREFECT_API_URL" in profiles.read_text("utf-8")
    if environment.get("PREFECT_API_URL") or named:
        return
    if "?" in str(home):
        raise UserError(
            "Prefect cannot use a path with `?` for its database; set PREFECT_HOME to another "
            f"folder. Received: {home}"
        )
    if not can_write(home):
        raise UserError(
            "Prefect cannot write its database; set PREFECT_HOME to a folder that you can write, "
            f"or PREFECT_API_URL to a server. Received: {home}"
        )


def check_user_name() -> None:
    """Raise UserError if the user has no name. DVC needs one, and does not say so when it fails.

    In a container, a user may have a number without a name.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise UserError(
            "this user has a number without a name, and DVC needs a name; run `export USER=fovea` "
            f"first. Received: user {os.getuid()}"
        ) from None


def expand_home(path: str | Path) -> Path:
    """Return a path in which `~` is replaced by the home folder.

    Raises UserError if there is none. In a container, a user may have a number without a name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            "this user has no home folder; set HOME to a folder that you can write. "
            f"Received: user {os.getuid()}, who has no name, and no HOME"
        ) from None


def can_write(folder: Path) -> bool:
    """Return whether files can be written into a folder; a missing folder must be creatable."""
    # Path.exists would raise PermissionError for a path below a folder of another user.
    above = (folder, *folder.absolute().parents)
    existing = next(path for path in above if os.access(path, os.F_OK))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
