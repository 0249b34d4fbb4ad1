"""Rules 1, 2, 3 and 8: floors, doors, and imports that do nothing."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import components
import pipelines

ROOT = Path(__file__).parents[2]
FLOWS = ("pipelines.retrain", "pipelines.search_flow")  # Prefect starts when they are imported.
HEAVY = ("great_expectations", "keras", "mlflow", "optuna", "pandas", "prefect", "tensorflow")


def run_python(code: str, folder: Path) -> str:
    # Without bytecode and with a home of its own: every file that appears comes from the import.
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PREFECT_HOME": str(folder.with_name("prefect")),  # made by `import prefect`
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_party() -> list[str]:
    return [
        found.name
        for package in (components, pipelines)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def test_every_module_keeps_to_its_floor_and_every_vendor_to_its_door() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_command_line_starts_without_any_heavy_vendor(tmp_path: Path) -> None:
    code = "import json, sys, pipelines.commands.fovea; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(code, tmp_path)))
    assert loaded & set(HEAVY) == set()


def test_no_import_starts_tensorflow_but_that_of_a_function_that_needs_it(tmp_path: Path) -> None:
    modules = [name for name in first_party() if name not in FLOWS]
    code = f"import sys, {', '.join(modules)}; print('tensorflow' in sys.modules)"
    assert run_python(code, tmp_path) == "False\n"


def test_importing_writes_no_file_and_prints_no_line(tmp_path: Path) -> None:
    assert run_python(f"import {', '.join(first_party())}", tmp_path) == ""
    assert list(tmp_path.rglob("*")) == []


def test_packages_are_empty_so_that_no_import_hides_in_them() -> None:
    for package in ("components", "pipelines"):
        for file in (ROOT / package).rglob("__init__.py"):
            # People write `from components.serving import load`. What it imports is no stage's
            # dep alone: a stage depends on the whole room.
            if file.parent.name != "serving":
                assert file.read_text() == "", file
