"""A workspace under real git and real DVC, and the damage that disks and people do to it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from pipelines import artifacts
from pipelines.formats import write_table
from pipelines.workspace.environment import QUIET
from tests.cards import DIGITS

ROOT = Path(__file__).parents[2]
IMAGES = {f"{label}/{n}.png": f"{label} {n}".encode() * 50 for label in ("cat", "dog")
          for n in range(3)}  # fmt: skip


def make_repository(folder: Path) -> None:
    """Make a git repository with DVC and the files that commands ask for, and go there."""
    shutil.copytree(_empty_repository().name, folder, dirs_exist_ok=True)
    os.chdir(folder)


@cache
def _empty_repository() -> "tempfile.TemporaryDirectory[str]":
    """Make the repository that all copy; it is gone when the tests end."""
    here, folder = Path.cwd(), tempfile.TemporaryDirectory()
    os.chdir(folder.name)
    shutil.copy(DIGITS, "params.yaml")
    Path("data").mkdir()
    shutil.copy(ROOT / "data/.gitignore", "data")
    Path(".gitignore").write_text("/.fovea/\n")
    run("git", "init", "--quiet", "--initial-branch=main")
    dvc("init", "--quiet")
    os.chdir(here)
    return folder


def run(*command: str) -> str:
    who = {f"GIT_{role}_{what}": "tester@localhost" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    done = subprocess.run(
        command,
        env={**os.environ, **QUIET, **who},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout.strip()


def dvc(*arguments: str) -> None:
    """Run DVC in this process, which spares it a second of imports."""
    from dvc.cli import main

    assert main([*arguments, "--quiet"]) == 0, arguments


def dvc_prints(*arguments: str) -> str:
    """Run DVC in a process of its own and return what it prints."""
    return run(sys.executable, "-m", "dvc", *arguments)


def commit(message: str) -> str:
    """Commit everything and return the commit."""
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", message)
    return run("git", "rev-parse", "HEAD")


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """Return name → content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ingest(labels: Mapping[str, str] | None = None) -> None:
    """Write a small manifest of data/raw, and dvc.lock, as `dvc repro ingest` leaves them."""
    from hashlib import sha256

    rows = [
        {
            "path": name,
            "label": (labels or {}).get(name, name.split("/")[0]),
            "image_id": sha256(content).hexdigest(),
        }
        for name, content in read(artifacts.RAW).items()
    ]
    write_table(artifacts.MANIFEST, pd.DataFrame(rows))
    stage = {"cmd": "true", "deps": [str(artifacts.RAW)], "outs": [str(artifacts.MANIFEST)]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"ingest": stage}}))
    dvc("commit", "--quiet", "--force", "ingest")


def flip(path: Path) -> None:
    """Change one byte as a failing disk does: size, time, mode and inode stay."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(status.st_mode)
    assert path.stat()[:9] == status[:9]
