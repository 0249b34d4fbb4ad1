"""A list of locked packages → which of them are installed in another version.

The list is a group of `pipelines/packages/` or requirements.lock itself: lines `name==version` or
`name==version ; marker`. A line whose marker does not hold on this machine is passed over.
"""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker

from components.errors import UserError

PACKAGES = Path(__file__).with_name("packages")
# One package: name, version, marker. Hashes and comments of requirements.lock do not match.
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)

# Stage → groups of packages that can change a byte of what it writes; dvc.yaml has them as deps.
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
    """A package that is not what the lock says."""

    name: str
    expected: str
    installed: str | None  # None: it is missing

    def __str__(self) -> str:
        """`numpy 2.0 instead of 2.4.6`."""
        return f"{self.name} {self.installed or 'missing'} instead of {self.expected}"


def expected_versions(text: str) -> dict[str, str]:
    """Name → version, of the lines whose marker holds on this machine.

    >>> expected_versions("a==1\\nb==2 ; python_version < '3'\\nb==3 ; python_version >= '3'\\n")
    {'a': '1', 'b': '3'}
    """
    return {
        name: version
        for name, version, marker in ENTRY.findall(text)
        if not marker or Marker(marker).evaluate()
    }


def differences(text: str) -> list[Difference]:
    """What is installed otherwise than the lines of `text` say, in their order."""
    return [
        Difference(name, version, installed)
        for name, version in expected_versions(text).items()
        if (installed := _installed_version(name)) != version
    ]


def check_packages_of(stage: str) -> None:
    """Raise UserError where a package that the stage's results depend on is not as locked."""
    for group in GROUPS[stage]:
        check_installed(PACKAGES / f"{group}.txt")


def check_installed(group_file: Path) -> None:
    """Raise UserError where a package of the file is installed in another version, or not at all.

    A stage that ran then would write bytes that DVC ascribes to the versions in the file.
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
