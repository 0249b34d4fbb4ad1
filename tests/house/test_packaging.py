"""What is installed is what was locked, and nothing of it phones home."""

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from pipelines.installed import ENTRY as LINE
from pipelines.workspace.environment import QUIET, quiet_vendors

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
NAME = re.compile(r"^[A-Za-z0-9._-]+")
ENTRY = re.compile(
    r"[A-Za-z0-9._-]+==[^\s;]+(?: ; [^\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}(?:\s|$)"
)
# What requirements.lock is resolved for; platform.machine() and sys.platform as markers call them.
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
# `uv pip compile --format pylock.toml` prints them with their names; new ones with each TensorFlow.
MACOS_WHEELS = """
3.11 51f46f4806139d01fc7920cc72a4c75876f80649bf40ff083ab6212ceb43ca88
3.12 56ecd7d47429acbe1df2694d50b75bf9fc3995ac92cb367cd9af6c4780ead712
3.13 a145ed46c58192b7c3f9916d070caf4f6afc6dc7e5511f83dd97677f4c4947f4
"""


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
        assert ENTRY.match(entry), name


def environment(python: str, platform: str, machine: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_machine": machine,
    }


def environments() -> list[dict[str, str]]:
    return [environment(python, *platform) for python in PYTHONS for platform in PLATFORMS]


def test_the_project_asks_for_the_pythons_that_the_lock_is_for() -> None:
    asked = SpecifierSet(PROJECT["project"]["requires-python"])
    minors = [f"3.{minor}" for minor in range(20) if f"3.{minor}" in asked]
    assert minors == list(PYTHONS)
    classifiers = PROJECT["project"]["classifiers"]
    assert all(f"Programming Language :: Python :: {python}" in classifiers for python in PYTHONS)


@pytest.mark.parametrize("where", environments(), ids=lambda where: "-".join(where.values()))
def test_the_lock_has_one_version_of_everything_asked_for_on_every_platform(
    where: dict[str, str],
) -> None:
    versions: dict[str, list[str]] = {}
    for name, version, marker in LINE.findall(LOCK):
        if not marker or Marker(marker).evaluate(where):
            versions.setdefault(name, []).append(version)
    assert all(len(found) == 1 for found in versions.values())
    assert {canonical(NAME.match(asked)[0]) for asked in asked_for()} <= set(versions)  # type: ignore[index]


def test_macos_wheels_are_in_the_lock() -> None:
    wheels = dict(line.split() for line in MACOS_WHEELS.strip().splitlines())
    assert set(wheels) == {"3.11", "3.12", "3.13"}
    for python, sha256 in wheels.items():
        assert f"--hash=sha256:{sha256}" in locked()["tensorflow"], python


def test_the_packages_that_can_change_a_byte_are_those_of_the_lock() -> None:
    for group, reasons in cut_packages().GROUPS.items():
        text = (ROOT / f"pipelines/packages/{group}.txt").read_text()
        assert text == cut_packages().cut(LOCK, list(reasons)), "run `make lock`"
    files = {path.stem for path in (ROOT / "pipelines/packages").iterdir()}
    assert files == set(cut_packages().GROUPS)


def test_every_package_that_is_imported_is_in_a_group_or_said_to_be_harmless() -> None:
    names = packages_distributions()
    imported = {
        canonical(name)
        for module in imported_modules() - sys.stdlib_module_names - {"components", "pipelines"}
        for name in names.get(module, [])  # of an extra that is not installed
    }
    listed = {name for reasons in cut_packages().GROUPS.values() for name in reasons}
    unnamed = imported - listed - set(cut_packages().HARMLESS) - {"mlflow-skinny", "mlflow-tracing"}
    assert unnamed == set(), "say in infra/cut_packages.py which bytes they change, or why none"


def imported_modules() -> set[str]:
    sources = [path for room in ("components", "pipelines") for path in (ROOT / room).rglob("*.py")]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text()))]
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | named}


def cut_packages() -> ModuleType:
    path = ROOT / "infra/cut_packages.py"
    spec = importlib.util.spec_from_file_location("cut_packages", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        other = {"PIL": "pillow", "cv2": "albumentations", "imblearn": "imbalanced-learn"}
        package = other.get(vendor, vendor.replace("_", "-"))
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


def test_prefect_reports_nothing_and_its_page_asks_its_own_address_whoever_starts_it() -> None:
    code = (
        "from prefect.settings import get_current_settings\n"
        "server = get_current_settings().server\n"
        "print(server.analytics_enabled, server.ui.api_url, server.ui.show_promotional_content)"
    )
    quiet = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=quiet, capture_output=True, text=True
    )
    assert done.stdout == "False /api False\n", done.stderr


COMMANDS = ["make check", "make test", "make slow"]


def test_the_continuous_integration_runs_what_people_run() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert [line for line in script.splitlines() if line.startswith("make")] == COMMANDS


def test_the_hosted_integration_runs_the_same_on_every_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["all"]
    assert job["strategy"]["matrix"]["python"] == list(PYTHONS)
    steps = {step["run"]: step.get("if") for step in job["steps"] if "run" in step}
    assert list(steps) == ["make set-up PYTHON=python", *COMMANDS]
    assert [command for command, condition in steps.items() if condition] == ["make slow"]


def test_the_hooks_before_a_commit_are_the_commands_of_make_check() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    hooks = [hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]]
    (check,) = re.findall(r"^check:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [command.removesuffix(" .") for command in check.split(" && ")]
    assert [hook.removesuffix(" --force-exclude") for hook in hooks] == commands


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    command = ["make", "--no-print-directory"]  # which `make test` would print
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert [line.split()[1] for line in done.stdout.splitlines()] == targets.split()


def set_up(*commands: Path | str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "infra/set-up.sh"
    return subprocess.run(["sh", str(script), *commands], capture_output=True, text=True)


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A command that answers as Python 3.9 does where set-up asks."""
    path = tmp_path / "python3.9"
    path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.18" && exit\nexit 1\n')
    path.chmod(0o755)
    return path


def test_a_python_that_does_not_fit_is_refused_in_one_sentence(old_python: Path) -> None:
    done = set_up(old_python)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: Fovea needs Python 3.11, 3.12 or 3.13 ")
    assert done.stderr.endswith(f"Received: {old_python} (Python 3.9.18)\n")
    assert done.stderr.count("\n") == 1


def test_a_python_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    done = set_up(tmp_path / "python3")
    assert done.returncode == 1
    assert done.stderr.endswith(f"Received: {tmp_path / 'python3'} (not found)\n")


def test_set_up_looks_for_every_python_that_fits_and_says_so(tmp_path: Path) -> None:
    for folder in ("infra", "bin"):
        (tmp_path / folder).mkdir()
    for name in ("infra/set-up.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("sh", "dirname", "cat", "cmp"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["sh", str(tmp_path / "infra/set-up.sh")],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert not (tmp_path / ".venv").exists()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        assert f"{name} (not found)" in done.stderr


def test_types_travel_with_the_packages() -> None:
    assert (ROOT / "components/py.typed").is_file()
    assert (ROOT / "pipelines/py.typed").is_file()


def test_every_page_is_in_the_index_and_every_decision_has_a_status_and_a_date() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "README.md"]
    for page in pages:
        assert f"]({page.relative_to(ROOT / 'docs').as_posix()})" in index, page
    for decision in (ROOT / "docs/decisions").glob("*.md"):
        status = decision.read_text().splitlines()[2]
        assert re.fullmatch(r"\*(Accepted|Replaced by .*), \d{4}-\d\d-\d\d\.\*", status), decision


def test_the_weekly_deployment_is_that_of_the_flow_one_run_at_a_time() -> None:
    (weekly,) = yaml.safe_load((ROOT / "infra/prefect.yaml").read_text())["deployments"]
    assert weekly["entrypoint"] == "pipelines/retrain.py:retrain"
    assert weekly["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert weekly["schedules"][0]["timezone"]
