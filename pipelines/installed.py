"""A list of locked packages → the packages that are missing or installed in another version.

The list is a file of `pipelines/packages/`, or requirements.lock. Its lines are `name==version` or
`name==version ; marker`. A line is skipped if its marker is false on this machine.
"""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker

from components.errors import UserError

PACKAGES = Path(__file__).with_name("packages")
# A match is one package: name, version, marker. Hashes and comments of the lock do not match.
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)

# Stage → groups of packages that can change a byte that it writes. dvc.yaml lists them as deps.
GROUPS = {
    "ingest": ("data",),
    "validate": ("data", "evaluation"),
    "split": ("data",),
    "prepare": ("data",),
    "balance": ("data",),
    "search": ("training",),
    "train": ("training",),
    "evaluate": ("evaluation",),
    "register": ("data", "evaluation"),
}


@dataclass(frozen=True)
class Difference:
    """A package that is missing, or has another version than the lock says."""

    name: str
    expected: str
    installed: str | None  # None: it is missing

    def __str__(self) -> str:
        """Return the difference in words, such as `numpy 2.0 instead of 2.4.6`."""
        return f"{self.name} {self.installed or 'missing'} instead of {self.expected}"


def expected_versions(text: str) -> dict[str, str]:
    """Return name → version for the lines whose marker is true on this machine.

    >>> expected_versions("a==1\\nb==2 ; python_version < '3'\\nb==3 ; python_version >= '3'\\n")
    {'a': '1', 'b': '3'}
    """
    return {
        name: version
        for name, version, marker in ENTRY.findall(text)
        if not marker or Marker(marker).evaluate()
    }


def differences(text: str) -> list[Difference]:
    """Return the packages that are missing or have another version than in the lines of `text`."""
    return [
        Difference(name, version, installed)
        for name, version in expected_versions(text).items()
        if (installed := _installed_version(name)) != version
    ]


def check_packages_of(stage: str) -> None:
    """Raise UserError if a package that can change the stage's files differs from the lock."""
    for group in GROUPS[stage]:
        check_installed(PACKAGES / f"{group}.txt")


def check_installed(group_file: Path) -> None:
    """Raise UserError if a package of the file is missing or has another version.

    DVC records the versions in the file. They must be the versions that the stage really used.
    """
    other = differences(group_file.read_text(encoding="utf-8"))
    if other:
        raise UserError(
            f"install the packages that {group_file} lists, by `make set-up` or "
            "`uv pip install --no-deps -r requirements.lock`. "
            f"Received: {', '.join(map(str, other))}"
        )


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
