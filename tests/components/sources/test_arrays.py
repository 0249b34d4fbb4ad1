"""Array files: pictures and labels found by name, one picture at a time, never a pickle."""

import hashlib
import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.errors import UserError
from components.images.decoder import decode
from components.images.fault import Fault
from components.params.ingest import Source
from components.params.reader import Params
from components.sources import array_files
from components.sources.listing import Listing
from components.sources.reading import read_bytes
from components.sources.source import open_source

X = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
Y = np.arange(12) % 2
MANY = 10**6
STATE = ".state"  # where arrays are unpacked


@pytest.fixture
def source(params: Params) -> Source:
    return params.ingest.source


def listing_of(raw: Path, source: Source, save: Any = np.savez, **arrays: Any) -> Listing:
    save(raw / "data.npz", **arrays)
    return open_source(raw, source)


def picture(raw: Path, path: str) -> np.ndarray[Any, Any]:
    return np.load(io.BytesIO(read_bytes(raw, path, MANY, raw / STATE)), allow_pickle=False)


def refused(raw: Path, source: Source) -> str:
    with pytest.raises(UserError) as caught:
        open_source(raw, source)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_picture_is_itself_with_its_label_and_split(
    save: Any, tmp_path: Path, source: Source
) -> None:
    arrays = {"x_train": X[:9], "y_train": Y[:9], "x_test": X[9:], "y_test": Y[9:, None]}
    listing = listing_of(tmp_path, source, save, **arrays, names=np.array(["a", "b"]))
    found = [(entry.path, entry.label, entry.given_split) for entry in listing.entries]
    assert found == [
        *((f"data.npz/x_test/{n}", str(Y[9 + n]), "test") for n in range(3)),
        *((f"data.npz/x_train/{n}", str(Y[n]), "train") for n in range(9)),
    ]
    for path, number in (("x_test/0", 9), ("x_train/8", 8)):
        assert np.array_equal(picture(tmp_path, f"data.npz/{path}"), X[number])
    assert listing.notes == (
        "arrays (12 images, 2 classes, train, test)",
        "labels in data.npz/y_train are whole numbers; they are used as class names",
        "labels in data.npz/y_test are whole numbers; they are used as class names",
        "arrays that contain no pictures or labels are left out (data.npz/names)",
    )


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels")])
def test_a_pair_of_plain_files_has_no_split(
    names: tuple[str, str], tmp_path: Path, source: Source
) -> None:
    pictures, labels = names
    np.save(tmp_path / f"{pictures}.npy", X)
    np.save(tmp_path / f"{labels}.npy", np.where(Y, "dog", "cat"))
    entries = open_source(tmp_path, source).entries
    assert [entry.label for entry in entries] == ["cat", "dog"] * 6
    assert {entry.given_split for entry in entries} == {None}
    assert [entry.path for entry in entries] == [f"{pictures}.npy/{n:02}" for n in range(12)]
    assert np.array_equal(picture(tmp_path, f"{pictures}.npy/11"), X[11])


@pytest.mark.parametrize(
    "pictures",
    [
        X[..., 0],
        X[..., :1],
        np.dstack([X.reshape(12, 20, 3), X.reshape(12, 20, 3)[..., :1]]).reshape(12, 5, 4, 4),
        X.astype("<u2") * 257,
        X.astype(">u2") * 257,
        X > 100,
        np.asfortranarray(X),
    ],
    ids=["grey", "one-channel", "alpha", "16-bit", "16-bit-big-endian", "bool", "fortran"],
)
def test_every_form_of_pictures_reaches_the_decoder(
    pictures: Any, tmp_path: Path, source: Source, params: Params
) -> None:
    listing = listing_of(tmp_path, source, images=pictures, labels=Y)
    data = read_bytes(tmp_path, listing.entries[7].path, MANY, tmp_path / STATE)
    assert np.array_equal(np.load(io.BytesIO(data)), pictures[7])
    assert decode(data, params.ingest.decode).pixels.shape == (5, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": X, "labels": Y[:5]}, r"one label per picture.*12.*Received: \[5\]"),
        ({"images": X, "labels": np.eye(12)}, r"one label per picture.*Received: \[12, 12\]"),
        ({"images": X / 255, "labels": Y}, r"uint8, uint16 or bool.*Received: float64"),
        ({"images": X.astype(int), "labels": Y}, r"uint8, uint16 or bool.*Received: int64"),
        ({"images": X.transpose(0, 3, 2, 1), "labels": Y}, r"channels.*\[12, 3, 4, 5\]"),
        ({"images": X[0, 0], "labels": Y[:4]}, r"must be \[N, height.*Received: \[4, 3\]"),
        ({"images": X[:, :0], "labels": Y}, r"must be \[N, height"),
        ({"images": X, "labels": Y / 2}, r"whole numbers or text.*Received: float64"),
        ({"images": X, "labels": Y > 0}, r"whole numbers or text.*Received: bool"),
        ({"images": X, "labels": Y.astype(object)}, r"pickles are not read.*object"),
        ({"images": X, "labels": np.array([b"\xff", b"a"] * 6)}, r"labels in UTF-8"),
        ({"images": X, "labels": Y * 0}, r"two classes or more"),
        ({"images": X[:0], "labels": Y[:0]}, r"two classes or more"),
        ({"images": X}, r"come in pairs.*Received: images"),
        ({"x_train": X, "y_train": Y, "x_test": X}, r"come in pairs.*x_test"),
        ({"x": X, "y": Y, "images": X, "labels": Y}, r"come in pairs"),
        ({"a": X}, r"come in pairs.*Received: a"),
    ],
)
def test_arrays_that_do_not_fit_end_in_one_sentence(
    arrays: dict[str, Any], sentence: str, tmp_path: Path, source: Source
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        listing_of(tmp_path, source, **arrays)
    assert "Received: " in str(caught.value)


def test_several_array_files_are_left_to_a_person(tmp_path: Path, source: Source) -> None:
    np.savez(tmp_path / "one.npz", x=X, y=Y)
    np.savez(tmp_path / "two.npz", x=X, y=Y)
    assert "Received: one.npz, two.npz" in refused(tmp_path, source)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_ends_in_one_sentence(save: Any, tmp_path: Path, source: Source) -> None:
    entry = listing_of(tmp_path, source, save, images=X, labels=Y).entries[5]
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[: len(whole) // 2])
    assert "data.npz" in refused(tmp_path, source)
    with pytest.raises(UserError, match=r"data\.npz"):
        read_bytes(tmp_path, entry.path, MANY, tmp_path / STATE)


def test_flipped_bits_in_a_packed_file_are_noticed(tmp_path: Path, source: Source) -> None:
    entry = listing_of(tmp_path, source, np.savez_compressed, images=X, labels=Y).entries[5]
    data = bytearray((tmp_path / "data.npz").read_bytes())
    data[300] ^= 1
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises(UserError, match="not a valid array file"):
        read_bytes(tmp_path, entry.path, MANY, tmp_path / STATE)


def test_a_header_that_promises_more_than_there_is_is_refused(
    tmp_path: Path, source: Source
) -> None:
    head = io.BytesIO()
    huge = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4)}
    np.lib.format.write_array_header_1_0(head, huge)
    (tmp_path / "images.npy").write_bytes(head.getvalue() + bytes(100))
    np.save(tmp_path / "labels.npy", Y)
    assert "announces 100,000,000,000,000 bytes" in refused(tmp_path, source)


def bomb(path: Path, gigabytes: int, shape: tuple[int, ...]) -> None:
    """An .npz of little that unpacks to zeroes without end."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            head = io.BytesIO()
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(head, header)
            file.write(head.getvalue())
            for _ in range(gigabytes * 16):
                file.write(bytes(2**26))
        archive.writestr("labels.npy", saved(np.arange(shape[0]) % 2))


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, source: Source) -> None:
    bomb(tmp_path / "data.npz", 1, (1024, 1024, 1024))
    assert (tmp_path / "data.npz").stat().st_size < 2_000_000
    error = refused(tmp_path, source)
    assert "1,073,741,952 bytes" in error
    assert "2,147,483,648 bytes or more than 200 times its packed size" in error


def test_a_lie_in_the_directory_unpacks_to_no_more_than_it_says(
    tmp_path: Path, source: Source
) -> None:
    bomb(tmp_path / "data.npz", 1, (1024, 1024, 1024))
    data = (tmp_path / "data.npz").read_bytes()
    small = saved(np.zeros((1024, 2, 2), np.uint8))
    lie = (2**30 + 128).to_bytes(4, "little"), len(small).to_bytes(4, "little")
    assert data.count(lie[0]) >= 1
    (tmp_path / "data.npz").write_bytes(data.replace(*lie))
    assert "announces" in refused(tmp_path, source)


def test_paths_of_no_picture_are_missing(tmp_path: Path, source: Source) -> None:
    listing_of(tmp_path, source, images=X, labels=Y)
    for path in ("images/12", "images/1", "images/012", "other/01", "images/¹²", "images/99999999"):
        with pytest.raises(Fault) as caught:
            read_bytes(tmp_path, f"data.npz/{path}", MANY, tmp_path / STATE)
        assert caught.value.code == "missing", path
    with pytest.raises(Fault) as caught:
        read_bytes(tmp_path, "data.npz/images/00", 10, tmp_path / STATE)
    assert caught.value.code == "too_many_bytes"


def test_an_array_file_behind_a_link_is_not_read(tmp_path: Path, source: Source) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    np.savez(tmp_path / "data.npz", images=X, labels=Y)
    (raw / "data.npz").symlink_to(tmp_path / "data.npz")
    assert "must be plain, readable files" in refused(raw, source)
    with pytest.raises(Fault) as caught:
        read_bytes(raw, "data.npz/images/00", MANY, raw / STATE)
    assert caught.value.code == "symlink"


def test_a_folder_may_be_called_like_an_array_file(tmp_path: Path) -> None:
    (tmp_path / "cat.npy").mkdir()
    (tmp_path / "cat.npy/01").write_bytes(b"plain")
    assert read_bytes(tmp_path, "cat.npy/01", MANY, tmp_path / STATE) == b"plain"


def test_a_file_written_again_is_seen_at_once(tmp_path: Path, source: Source) -> None:
    for value in (1, 2):
        full = np.full_like(X, value)
        entry = listing_of(tmp_path, source, np.savez_compressed, images=full, labels=Y).entries[0]
        assert picture(tmp_path, entry.path).max() == value


def copies(raw: Path) -> list[Path]:
    return sorted(path for path in (raw / STATE).rglob("*") if path.is_file())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_of_an_npz_is_unpacked_once_and_again_where_its_copy_is_gone(
    save: Any, tmp_path: Path, source: Source
) -> None:
    paths = [entry.path for entry in listing_of(tmp_path, source, save, x=X, y=Y).entries]
    sha = hashlib.sha256((tmp_path / "data.npz").read_bytes()).hexdigest()
    for path in paths:
        picture(tmp_path, path)
    (copy,) = copies(tmp_path)
    assert copy.parent == tmp_path / STATE / "arrays/data.npz" / sha
    assert np.array_equal(np.load(copy), X)
    made = copy.stat().st_mtime_ns
    array_files._map.cache_clear()  # as in another process
    assert np.array_equal(picture(tmp_path, paths[3]), X[3])
    assert copy.stat().st_mtime_ns == made
    shutil.rmtree(tmp_path / STATE)
    array_files._map.cache_clear()
    assert np.array_equal(picture(tmp_path, paths[4]), X[4])
    assert copies(tmp_path) == [copy]


def test_the_copy_of_an_older_npz_is_dropped(tmp_path: Path, source: Source) -> None:
    for value in (1, 2):
        full = np.full_like(X, value)
        picture(tmp_path, listing_of(tmp_path, source, x=full, y=Y).entries[0].path)
        (copy,) = copies(tmp_path)
        assert np.load(copy).max() == value


def test_a_plain_array_file_is_read_in_place_and_nothing_is_copied(
    tmp_path: Path, source: Source
) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", Y)
    for number, entry in enumerate(open_source(tmp_path, source).entries):
        assert np.array_equal(picture(tmp_path, entry.path), X[number])
    assert copies(tmp_path) == []


def test_of_a_damaged_array_no_copy_is_left(tmp_path: Path, source: Source) -> None:
    entry = listing_of(tmp_path, source, np.savez_compressed, images=X, labels=Y).entries[5]
    data = bytearray((tmp_path / "data.npz").read_bytes())
    data[300] ^= 1
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises(UserError, match="not a valid array file"):
        picture(tmp_path, entry.path)
    assert copies(tmp_path) == []


def test_a_full_disk_says_how_much_is_needed(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = listing_of(tmp_path, source, images=X, labels=Y).entries[5]
    full = SimpleNamespace(free=700)
    monkeypatch.setattr(array_files.shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match=r"data\.npz/images needs 720 bytes.*Received: 700 bytes"):
        picture(tmp_path, entry.path)


def test_fashion_mnist_is_read_as_it_comes(shared: Path, tmp_path: Path, source: Source) -> None:
    packed = shared / "datasets/fashion_mnist.npz"
    if not packed.is_file():
        pytest.skip("needs ../shared/datasets/fashion_mnist.npz")
    (tmp_path / "fashion_mnist.npz").write_bytes(packed.read_bytes())
    entries = open_source(tmp_path, source).entries
    assert len(entries) == 70_000
    sides = [entry.given_split for entry in entries]
    assert (sides.count("train"), sides.count("test")) == (60_000, 10_000)
    with np.load(packed) as arrays:
        pixels, labels = arrays["x_train"], arrays["y_train"]
    by_path = {entry.path: entry for entry in entries}
    for number in (0, 7, 59_999):
        path = f"fashion_mnist.npz/x_train/{number:05}"
        assert by_path[path].label == str(labels[number])
        assert np.array_equal(picture(tmp_path, path), pixels[number])
