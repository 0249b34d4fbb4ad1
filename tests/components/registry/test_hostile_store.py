"""L3 and L4: whoever can write to the MLflow store cannot make Fovea load or run something else."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components.errors import UserError
from components.registry.versions import download, find_version, tag_version
from components.tracking.connection import client

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def stored(registered: Callable[..., int]) -> Path:
    """The folder in the store that has the files of version 1."""
    registered(CONTENT)
    uri = client().get_model_version_download_uri("digits", "1")
    return Path(uri.removeprefix("file://"))


@pytest.mark.parametrize("place", [0, 1, 511, len(CONTENT) - 1])
def test_one_changed_byte_is_refused(place: int, stored: Path) -> None:
    content = bytearray(CONTENT)
    content[place] ^= 1
    (stored / "data/model.keras").write_bytes(content)
    with pytest.raises(UserError, match="was changed since it was registered"):
        download(find_version("digits", "1"))
    (stored / "data/model.keras").write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="was changed since it was registered"):
        download(find_version("digits", "1"))


class Wicked:
    """Writes the file `ran` when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("open('ran', 'w').close()",)


def test_code_and_pickles_in_the_store_are_not_run(stored: Path) -> None:
    (stored / "code").mkdir()
    for name in ("loader.py", "sitecustomize.py", "__init__.py"):
        (stored / "code" / name).write_text("open('ran', 'w').close()\n")
    (stored / "python_model.pkl").write_bytes(pickle.dumps(Wicked()))
    described = yaml.safe_load((stored / "MLmodel").read_text())
    described["flavors"] = {
        "python_function": {
            "loader_module": "loader",
            "code": "code",
            "python_model": "python_model.pkl",
        }
    }
    (stored / "MLmodel").write_text(yaml.safe_dump(described))
    assert download(find_version("digits", "1")).read_bytes() == CONTENT
    assert not Path("ran").exists()


@pytest.mark.parametrize("model_id", ["../../outside", "/tmp/outside", "..", "", "0" * 64])
def test_a_version_that_names_another_file_is_refused(model_id: str, stored: Path) -> None:
    Path("outside.keras").write_bytes(CONTENT)
    tag_version("digits", 1, {"model_id": model_id})
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError):
        download(find_version("digits", "1"))
    assert [path for path in Path().rglob("*.keras") if path not in before] == []
