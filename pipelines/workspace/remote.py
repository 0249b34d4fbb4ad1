"""DVC's default remote → whether `dvc pull` and `dvc push` can use it, or a UserError within 15 s.

DVC itself asks the remote, because only DVC knows how to reach each kind of remote.
"""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from components.errors import UserError
from pipelines.workspace.processes import DVC, capture, dvc_error

# A remote must answer within this time. DVC's own limits are minutes. The rest of the 15 s is for
# the start of DVC.
LIMIT_S = 10.0
# `dvc remote default` prints this text if no default remote is set. The exit status does not show
# the reason, because it is also 1 after other errors.
NO_REMOTE = "No default remote set"
# What DVC prints if the library for this kind of remote, such as S3, is not installed.
NEEDS_PACKAGE = re.compile(r"requires 'dvc-(\w+)' to be installed")
NOT_THERE = "does not exist: "
# For a remote with http, DVC also prints NOT_THERE if no server answers, and if the server has no
# page for the folder itself. Then its files can still be read.
HTTP_NOT_THERE = re.compile(NOT_THERE + "https?://")
NO_SERVER = "Cannot connect to host"


def default_remote(root: Path = Path()) -> str:
    """Return the name of the default remote of the repository at `root`; empty if none is set.

    Raises UserError if DVC fails, for example because its config file is not valid.
    """
    done = capture(*DVC, "remote", "default", root=root)
    if done.returncode == 0:
        return done.stdout.strip()
    if NO_REMOTE in done.stdout + done.stderr:
        return ""
    raise UserError(f"`dvc remote default` fails: {dvc_error(done.stderr)}")


def ask_remote(name: str, root: Path = Path()) -> bool:
    """Ask a remote for the names in its folder. Return False if the folder does not exist.

    `dvc push` creates a missing folder.
    name: the name of the remote in DVC's config.
    Raises UserError after at most LIMIT_S seconds if the remote does not answer, or if the package
    for this kind of remote is not installed.
    """
    try:
        done = capture(*DVC, "list-url", f"remote://{name}", root=root, timeout_s=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise _unusable(name, f"no answer within {LIMIT_S:.0f} s") from None
    reason = dvc_error(done.stderr)
    answered = NO_SERVER not in reason
    if done.returncode == 0 or (answered and HTTP_NOT_THERE.search(reason)):
        return True
    if answered and NOT_THERE in reason:
        return False
    raise _unusable(name, reason)


def check_default_remote() -> None:
    """Ask the default remote, if one is set. Raises UserError within 15 s if it cannot be used."""
    if name := default_remote():
        ask_remote(name)


def _unusable(name: str, reason: str) -> UserError:
    if package := NEEDS_PACKAGE.search(reason):
        command = f"pip install 'dvc[{package[1]}]=={version('dvc')}'"
        return UserError(
            f"the DVC remote needs a package that is not installed; run `{command}`. "
            f"Received: {name}, and {reason}"
        )
    return UserError(
        f"the DVC remote cannot be used ({reason}); start its server, or correct its address or "
        f"credentials with `dvc remote modify {name}`. Received: {name}"
    )
