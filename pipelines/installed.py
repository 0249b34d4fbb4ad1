"""A list of locked packages → the packages that are missing or installed in another version.

The list is a file in `pipelines/packages/`, or requirements.lock. A package has a line
`name==version` or `name==version ; marker`. The marker is a condition, such as a version of Python.
A line is skipped if its marker is false on this machine.
"""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker

from components.errors import UserError

PACKAGES = Path(__file__).with_name("packages")
# The pattern matches the line of a package, and captures its name, version and marker. It does not
# match hashes and comments in requirements.lock.
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)

# Stage → groups of the packages that can change the bytes that the stage writes. A group is a file
# pipelines/packages/<group>.txt. In dvc.yaml this file is a dep of the stage.
GROUPS = {
    "ingest": ("data",),
    "validate": ("data", "evaluation"),
    "split": ("data",),
    "prepare": ("data",),
    "balance": ("data",),
    "search": ("search", "training"),
    "train": ("training",),
    "evaluate": ("evaluation",),
    "register": ("data", "evaluation"),
}


@dataclass(frozen=True)
class Difference:
    """A package that is missing, or whose installed version is not the version in the list."""

    name: str
    expected: str
    installed: str | None  # None if the package is not installed

    def __str__(self) -> str:
        """Return the difference in words, such as `numpy 2.0 instead of 2.4.6`."""
        return f"{self.name} {self.installed or 'missing'} instead of {self.expected}"


def expected_versions(text: str) -> dict[str, str]:
    """Return package name → version, without the lines whose marker is false on this machine.

    text: the text of the list.

    >>> expected_versions("a==1\\nb==2 ; python_version < '3'\\nb==3 ; python_version >= '3'\\n")
    {'a': '1', 'b': '3'}
    """
    return {
        name: version
        for name, version, marker in ENTRY.findall(text)
        if not marker or Marker(marker).evaluate()
    }


def differences(text: str) -> list[Difference]:
    """Return the packages of the list that are missing or installed in another version.

    text: the text of the list.
    """
    return [
        Difference(name, version, installed)
        for name, version in expected_versions(text).items()
        if (installed := installed_version(name)) != version
    ]


def check_packages_of(stage: str) -> None:
    """Raise UserError if a package in the groups of the stage is missing or has another version."""
    for group in GROUPS[stage]:
        check_installed(PACKAGES / f"{group}.txt")


def check_installed(group_file: Path) -> None:
    """Raise UserError if a package in the list is missing or installed in another version.

    group_file: the path of the list. DVC records this file as a dep of the stage, so the stage must
    run with exactly the versions in the file.
    """
    other = differences(group_file.read_text(encoding="utf-8"))
    if other:
        raise UserError(
            "run `make set-up` or `uv pip install --no-deps -r requirements.lock` to install the "
            f"packages that {group_file} lists. "
            f"Received: {', '.join(map(str, other))}"
        )


def installed_version(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
