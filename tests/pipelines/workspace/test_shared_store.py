"""Files that go through the shared store: whole, checked by their sha256, and copied once."""

import pytest

from components.errors import UserError
from components.files import sha256
from pipelines.workspace.shared_store import LIST, get_files, put_files
from tests.pipelines.versioned import flip, read, write

FILES = {"data/prepare/train.images.npy": b"pixels" * 1000, "search.json": b"{}"}


@pytest.fixture
def files(tmp_path):
    folder = write(tmp_path / "files", FILES)
    return {name: folder / name for name in FILES}


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    return str(tmp_path / "store")


def without_list(folder):
    return {name: content for name, content in read(folder).items() if name != LIST}


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_files_arrive_as_they_were_under_a_hash_that_depends_on_all_of_them(
    prefix, files, store, tmp_path
):
    digest = put_files(prefix + store, files)
    assert without_list(get_files(prefix + store, digest, tmp_path / "worker")) == FILES
    assert put_files(store, files) == digest
    files["search.json"].write_bytes(b"{1}")
    assert put_files(store, files) != digest


def test_a_store_that_is_no_file_system_of_this_machine_works_as_well(files, tmp_path):
    digest = put_files("memory://fovea", files)
    assert without_list(get_files("memory://fovea", digest, tmp_path / "worker")) == FILES


def test_a_file_that_is_in_the_store_is_not_copied_again(files, store, tmp_path):
    put_files(store, files)
    images = tmp_path / "store/files" / sha256(files["data/prepare/train.images.npy"])
    before = images.stat()
    files["search.json"].write_bytes(b"{1}")
    put_files(store, files)
    assert images.stat() == before
    images.write_bytes(b"half of it")  # an upload that was stopped by another program
    put_files(store, files)
    assert images.read_bytes() == FILES["data/prepare/train.images.npy"]


def test_a_damaged_file_in_the_store_is_named_and_leaves_no_folder(files, store, tmp_path):
    digest = put_files(store, files)
    images = tmp_path / "store/files" / sha256(files["data/prepare/train.images.npy"])
    flip(images)
    with pytest.raises(UserError, match=f"is damaged; delete it.*Received: {images}"):
        get_files(store, digest, tmp_path / "worker")
    assert list((tmp_path / "worker").iterdir()) == []
    images.write_bytes(FILES["data/prepare/train.images.npy"])
    listing = tmp_path / f"store/lists/{digest}.json"
    listing.write_bytes(listing.read_bytes().replace(b"search.json", b"search.yaml"))
    with pytest.raises(UserError, match=f"is damaged; delete it.*Received: {listing}"):
        get_files(store, digest, tmp_path / "worker")


def test_a_store_on_a_full_disk_keeps_no_half_files(files, store, tmp_path, monkeypatch):
    from fsspec.implementations.local import LocalFileSystem

    def half(self, source, target):
        from pathlib import Path

        Path(target).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "put_file", half)
    with pytest.raises(UserError, match=r"FOVEA_SHARED_STORE: .*No space left on device"):
        put_files(store, files)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_missing_file_in_the_store_is_one_sentence(files, store, tmp_path):
    digest = put_files(store, files)
    (tmp_path / "store/files" / sha256(files["search.json"])).unlink()
    with pytest.raises(UserError, match=r"FOVEA_SHARED_STORE: .*FileNotFoundError"):
        get_files(store, digest, tmp_path / "worker")
    assert list((tmp_path / "worker").iterdir()) == []


def test_a_file_that_an_earlier_search_left_is_linked_unless_the_disk_has_damaged_it(
    files, store, tmp_path
):
    name = "data/prepare/train.images.npy"
    first = get_files(store, put_files(store, files), tmp_path / "worker")
    files["search.json"].write_bytes(b"{1}")
    second = get_files(store, put_files(store, files), tmp_path / "worker")
    assert (first / name).samefile(second / name)
    flip(first / name)
    files["search.json"].write_bytes(b"{2}")
    third = get_files(store, put_files(store, files), tmp_path / "worker")
    assert (third / name).read_bytes() == FILES[name]


@pytest.mark.usefixtures("prefect_api")
def test_a_worker_keeps_the_last_folders_and_uses_one_again(files, store, tmp_path):
    from pipelines.search_flow import KEPT, fetch_inputs

    digests = []
    for number in range(KEPT + 1):
        files["search.json"].write_bytes(b"%d" % number)
        digests.append(put_files(store, files))
        if number < KEPT:
            fetch_inputs(store, digests[-1], tmp_path / "worker")
    note = tmp_path / "worker" / digests[0] / "data/checkpoint"  # The time of the folder stays.
    note.touch()
    fetch_inputs(store, digests[0], tmp_path / "worker")  # Now it is the newest one.
    assert note.exists()
    fetch_inputs(store, digests[-1], tmp_path / "worker")
    left = {path.name for path in (tmp_path / "worker").iterdir() if path.is_dir()}
    assert left == {digests[0], *digests[2:]}
