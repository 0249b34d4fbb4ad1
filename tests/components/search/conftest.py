"""Databases for studies: an sqlite file, and a PostgreSQL server that the tests start."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from components.search.database import create_study
from components.search.points import Point
from components.search.tasks import Task


def add(store, number, overrides, distributions=None):
    """Add a waiting trial that trains only its head."""
    store.add(number, Point(overrides, distributions or {}), Task(number, overrides, 0))


PROGRAMS = [shutil.which(name) for name in ("initdb", "pg_ctl")]


@pytest.fixture(scope="session")
def postgresql():
    """Yield the address of a PostgreSQL server in a temporary folder, and how to stop and start it.

    PostgreSQL refuses to run as root, so root starts it as the user `nobody`.
    """
    if None in PROGRAMS:
        pytest.skip("PostgreSQL (initdb, pg_ctl) is not installed")
    if not importlib.util.find_spec("psycopg"):
        pytest.skip("psycopg, the driver of PostgreSQL, is not installed")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    user = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def run(*command):
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

    def control(action):
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        log = folder / "log"
        run(
            PROGRAMS[1], "-D", folder / "data", "-w", "-m", "fast", "-l", log, "-o", options, action
        )

    run(PROGRAMS[0], "-D", folder / "data", "-U", "postgres", "--auth", "trust", "-N")
    control("start")
    yield f"postgresql+psycopg://postgres@/postgres?host={folder}", control
    control("stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Return the address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    address, _ = request.getfixturevalue("postgresql")
    import psycopg

    name = f"test_{abs(hash(str(tmp_path)))}"
    host = address.partition("host=")[2]
    with psycopg.connect(host=host, user="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return address.replace("/postgres?", f"/{name}?")


@pytest.fixture
def study(database):
    """Return the address of a database that has the study `s` without a trial."""
    create_study(database, "s", ["maximize"])
    return database
