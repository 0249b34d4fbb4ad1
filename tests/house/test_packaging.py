"""What is installed is what was locked, and nothing of it phones home."""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from pipelines.workspace.environment import QUIET, quiet_vendors

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def locked() -> dict[str, str]:
    """Name → its entry in the lock, up to the next one."""
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)
    found = {NAME.match(entry): entry for entry in entries}
    return {canonical(name.group()): entry for name, entry in found.items() if name}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for() -> list[str]:
    return [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


def test_every_locked_package_has_a_version_and_hashes() -> None:
    assert len(locked()) > 100
    for name, entry in locked().items():
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;]+ \\\n    --hash=sha256:[0-9a-f]{64}", entry), name


def test_the_lock_names_no_index() -> None:
    assert not re.search(r"--(index|extra-index|find-links)|https?://| @ ", LOCK)


@pytest.mark.parametrize("requirement", asked_for())
def test_everything_asked_for_is_locked_at_the_version_asked_for(requirement: str) -> None:
    name = NAME.match(requirement)
    assert name
    entry = locked()[canonical(name.group())]
    pinned = re.search(r"==([^\s,;]+)", requirement)
    assert pinned is None or f"=={pinned.group(1)} " in entry


def test_every_vendor_with_a_door_has_it_named_beside_its_requirement() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        if not contract["name"].startswith("the door of"):
            continue
        ((importer, _, vendor),) = [entry.split() for entry in contract["ignore_imports"]]
        package = {"PIL": "pillow", "cv2": "albumentations"}.get(vendor, vendor.replace("_", "-"))
        door = importer.removesuffix(".**")
        assert re.search(rf'"{package}[=<>].*# {re.escape(door)}$', text, re.MULTILINE), vendor


def test_telemetry_is_off_unless_somebody_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "asked for")
    quiet_vendors()
    assert {name: os.environ[name] for name in QUIET} == {**QUIET, "DVC_NO_ANALYTICS": "asked for"}


def test_dvc_reports_nothing_and_asks_for_no_newer_version() -> None:
    config = configparser.ConfigParser()
    config.read_string(
        "\n".join(line.strip() for line in (ROOT / ".dvc/config").read_text().splitlines())
    )
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"


def test_prefect_reports_nothing_whoever_starts_it() -> None:
    code = (
        "from prefect.settings import get_current_settings as settings\n"
        "print(settings().server.analytics_enabled)"
    )
    quiet = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=quiet, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_the_continuous_integration_runs_what_people_run() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert [line for line in script.splitlines() if line.startswith("make")] == [
        "make check",
        "make test",
        "make slow",
    ]


def test_the_weekly_deployment_is_that_of_the_flow_one_run_at_a_time() -> None:
    (weekly,) = yaml.safe_load((ROOT / "infra/prefect.yaml").read_text())["deployments"]
    assert weekly["entrypoint"] == "pipelines/retrain.py:retrain"
    assert weekly["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert weekly["schedules"][0]["timezone"]
