"""The environment variables of infra/README.md → what they name, or a UserError if it is unusable.

The tracking store of MLflow is checked elsewhere (doctor.py), because it can be a database.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from components.deadline import call_within
from components.errors import UserError, one_line
from components.tracking.connection import without_password
from pipelines.workspace import search_variables
from pipelines.workspace.addresses import LIMIT_S, check_server
from pipelines.workspace.environment import (
    PROXIES,
    can_write,
    check_prefect_home,
    check_user_name,
    expand_home,
)

# Environment variable → the folder that is used if the variable is not set.
FOLDERS = {"PREFECT_HOME": Path("~/.prefect"), "KERAS_HOME": Path("~/.keras")}
DEVICES = "CUDA_VISIBLE_DEVICES"
# Numbers such as `0,1`, or the names that `nvidia-smi -L` prints. `-1` means no GPU.
DEVICE = re.compile(r"-1|\d+|(GPU|MIG)-[\w/-]+")
PROXY_PORT = 80


def prefect_server(environment: Mapping[str, str] = os.environ) -> str:
    """Return which server Prefect uses. Raise UserError if the server does not answer."""
    url = environment.get("PREFECT_API_URL") or ""
    if not url:
        return "PREFECT_API_URL is not set, so each run starts a server of its own"
    check_server("PREFECT_API_URL", url)
    return f"{without_password(url)} answers"


def other_variables(environment: Mapping[str, str] = os.environ) -> str:
    """Return that folders, devices, workers, machines and proxies can be used.

    Raises UserError for the first fault.
    """
    from components.training.feeding import worker_count
    from components.training.machines import read_machines

    check_user_name()
    for variable, default in FOLDERS.items():
        _check_folder(variable, expand_home(environment.get(variable) or default))
    check_prefect_home(environment)
    _check_devices(environment.get(DEVICES) or "")
    worker_count(environment)
    read_machines(environment)
    _check_search(environment)
    for name in PROXIES:
        for variable in (name, name.upper()):
            _check_proxy(variable, environment.get(variable) or "")
    return (
        "folders, devices, workers, machines and proxies of the environment variables can be used"
    )


def _check_search(environment: Mapping[str, str]) -> None:
    """Raise UserError if a search could not start its workers, as far as the variables say it."""
    if search_variables.read_executor(environment) == "local":
        search_variables.read_worker_count(environment, default=1)
        return
    search_variables.read_storage(environment)
    search_variables.read_store(environment)
    search_variables.read_worker_count(environment)


def _check_folder(variable: str, folder: Path) -> None:
    """Raise UserError if the folder is not writable, or if it is missing and cannot be created."""
    if not can_write(folder):
        raise UserError(
            f"{variable} must name a folder in which you may write; set it to another folder, or "
            f"correct the rights. Received: {folder}"
        )


def _check_devices(value: str) -> None:
    if not all(DEVICE.fullmatch(device.strip()) for device in value.split(",") if device.strip()):
        raise UserError(
            f"{DEVICES} must be numbers of GPUs such as 0,1; correct it, or unset it to use all "
            f"GPUs. Received: {value}"
        )


def _check_proxy(variable: str, url: str) -> None:
    """Raise UserError if nothing listens at the address of a proxy."""
    if not url:
        return
    proxy = urlsplit(url if "://" in url else f"http://{url}")
    try:
        address = (proxy.hostname or "", proxy.port or PROXY_PORT)
        call_within(LIMIT_S, lambda: socket.create_connection(address, timeout=LIMIT_S).close())
    except (OSError, ValueError) as error:
        raise UserError(
            f"no proxy answers at {variable} ({one_line(error)}); correct it, or unset it. "
            f"Received: {without_password(url)}"
        ) from None
