"""A link in data/raw → read if DVC made it into its own cache; refused in every other case."""

import hashlib
import os
from pathlib import Path

import pytest

from components.images.fault import Fault
from components.manifest.table import build_manifest
from components.params.reader import Params
from components.sources import dvc_cache
from components.sources.dvc_cache import linked_object
from components.sources.reading import read_bytes
from tests.components.pictures import saved, scene


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with DVC's cache on another place of the disk, which its config names."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path))
    dvc_cache._real_cache.cache_clear()
    (tmp_path / "ws/.dvc").mkdir(parents=True)
    (tmp_path / "ws/.dvc/config.local").write_text("[cache]\n    dir = ../../shared cache\n")
    (tmp_path / "ws/data/raw/cat").mkdir(parents=True)
    return tmp_path / "ws"


def store(cache: Path, content: bytes) -> Path:
    """Write an object as DVC does, and return its path."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = cache / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def link(repository: Path, target: Path) -> Path:
    path = repository / "data/raw/cat/1.png"
    path.symlink_to(target)
    return path


def read(path: Path) -> bytes:
    return read_bytes(path.parents[1], "cat/1.png", 10**6, Path("unused"))


def test_a_link_to_an_object_of_the_configured_cache_is_read(repository: Path) -> None:
    stored = store(repository.parent / "shared cache", b"cat")
    path = link(repository, stored)
    assert linked_object(path) == stored
    assert read(path) == b"cat"


def test_a_link_by_way_of_a_linked_folder_of_the_cache_is_read(repository: Path) -> None:
    """Mounts are often linked: /cache may be a link to /mnt/disk3/cache."""
    stored = store(repository.parent / "disk", b"cat")
    (repository.parent / "shared cache").symlink_to(repository.parent / "disk")
    path = link(repository, repository.parent / "shared cache" / stored.relative_to(
        repository.parent / "disk"
    ))  # fmt: skip
    assert read(path) == b"cat"


def test_a_link_that_only_looks_like_one_of_dvc_is_refused(repository: Path) -> None:
    store(repository.parent / "shared cache", b"cat")
    secret = repository.parent / "secret"
    secret.write_bytes(b"secret")
    dangling = repository.parent / "shared cache/files/md5/00" / ("0" * 30)
    dangling.parent.mkdir(parents=True)
    for target in (
        secret,
        store(repository / ".dvc/cache", b"cat"),  # the default folder, but not the configured one
        store(repository.parent / "shared cache 2", b"cat"),  # begins with the same text
        repository.parent / "shared cache/files/md5/../../../secret",
        repository.parent / "shared cache/config",  # below the cache, but no object
        dangling,
    ):
        if target == dangling:
            dangling.symlink_to(secret)  # an object that is itself a link out of the cache
        path = link(repository, target)
        with pytest.raises(Fault) as caught:
            read(path)
        assert caught.value.code == "symlink", target
        path.unlink()


def test_an_object_that_is_gone_is_missing_and_no_refused_link(repository: Path) -> None:
    stored = store(repository.parent / "shared cache", b"cat")
    path = link(repository, stored)
    stored.unlink()
    with pytest.raises(Fault) as caught:
        read(path)
    assert caught.value.code == "missing"


def test_without_a_repository_every_link_is_refused(tmp_path: Path) -> None:
    dvc_cache._real_cache.cache_clear()
    path = tmp_path / "link"
    path.symlink_to(store(tmp_path / ".dvc-cache", b"cat"))
    assert linked_object(path) is None


def test_linked_images_give_the_manifest_of_the_files_and_are_read_once(
    repository: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = repository / "data/raw"
    (raw / "dog").mkdir()
    for seed, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png"]):
        (raw / name).write_bytes(saved(scene(seed, 32, 32)))
    copied = build_manifest(raw, params.ingest)
    for path in raw.rglob("*.png"):
        stored = store(repository.parent / "shared cache", path.read_bytes())
        os.utime(stored, (1, 1))  # the cache of rows leaves out files that were just written
        path.unlink()
        path.symlink_to(stored)
    state = repository / "state"
    linked = [build_manifest(raw, params.ingest, state) for _ in range(2)][1]
    assert "0 images to read, 3 unchanged since an earlier run" in capsys.readouterr().out
    assert linked["fault"].isna().all()
    assert linked.equals(copied)
