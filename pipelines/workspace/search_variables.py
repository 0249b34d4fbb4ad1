"""The environment variables of a search on several machines → their values, or a UserError."""

from collections.abc import Mapping

from components.errors import UserError
from components.tracking.connection import without_password
from pipelines.workspace import shared_store

EXECUTOR, WORKERS = "FOVEA_SEARCH_EXECUTOR", "FOVEA_SEARCH_WORKERS"
STORAGE = "FOVEA_STUDY_STORAGE"
EXECUTORS = ("local", "prefect")


def read_executor(environment: Mapping[str, str]) -> str:
    """Return `local` or `prefect`: FOVEA_SEARCH_EXECUTOR, or `local` without it.

    Raises UserError if it has another value.
    """
    name = environment.get(EXECUTOR, "").strip() or EXECUTORS[0]
    if name not in EXECUTORS:
        raise UserError(
            f"{EXECUTOR}: unknown; write {' or '.join(EXECUTORS)}, or unset it. Received: {name}"
        )
    return name


def read_storage(environment: Mapping[str, str]) -> str:
    """Return the address of a database that several machines can use.

    Raises UserError if FOVEA_STUDY_STORAGE is missing, or no address of PostgreSQL.
    """
    url = environment.get(STORAGE, "").strip()
    if url.startswith("postgresql"):
        return url
    wrong = "no PostgreSQL, which workers on other machines need" if url else "missing"
    raise UserError(
        f"{STORAGE}: {wrong}; write the address of a PostgreSQL database, such as "
        f"postgresql+psycopg://USER:PASSWORD@HOST/fovea. Received: {without_password(url) or None}"
    )


def read_store(environment: Mapping[str, str]) -> str:
    """Return the address of the shared store. Raises UserError if FOVEA_SHARED_STORE is missing."""
    address = environment.get(shared_store.VARIABLE, "").strip()
    if not address:
        raise UserError(
            f"{shared_store.VARIABLE}: missing; write the address of a folder that all machines "
            "reach, such as /mnt/fovea or s3://BUCKET/fovea. Received: None"
        )
    return address


def read_worker_count(environment: Mapping[str, str], default: int | None = None) -> int:
    """Return how many workers a search has at the same time: FOVEA_SEARCH_WORKERS.

    default: of workers on this machine. On other machines there is none, because the machine of the
    search does not know how many GPUs they have.
    Raises UserError if the variable is no number from 1 to 999, or if it is missing and there is no
    default.
    """
    text = environment.get(WORKERS, "").strip()
    if default is not None and not text:
        return default
    if not text.isdecimal() or not 0 < int(text) < 1000:
        raise UserError(
            f"{WORKERS}: no number from 1 to 999; write how many workers the search has, for "
            f"example the number of GPUs. Received: {text or None}"
        )
    return int(text)
