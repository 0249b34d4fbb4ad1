"""Folders, archives, tables and standard input → every image, by a name that the user knows."""

import io
import json
import sys
import tarfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from threading import Thread

import pandas as pd
import pytest

from components.errors import UserError
from components.images.fault import Fault
from components.parallel import in_threads
from components.serving import inputs
from components.serving.inputs import FIRST_BYTES, LONGEST_LINE, Input, read_inputs

PNG = b"\x89PNG\r\n\x1a\n, the rest does not matter here"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, a hidden file and a link to another place, as current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/b/1.png", "in/a.png", "in/notes.txt", "in/.hidden.png", "out/secret.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())
    Path("in/link.png").symlink_to("../out/secret.png")
    Path("in/far").symlink_to("../out")
    return tmp_path


def contents(*paths: str, max_bytes: int = 1_000) -> tuple[int | None, dict[str, str]]:
    """Return the announced number, and name → text or code of the fault."""
    given = read_inputs(paths, max_bytes)
    found: dict[str, str] = {}
    for image in given.images:
        assert image.name not in found
        try:
            found[image.name] = image.read().decode("latin-1")
        except Fault as fault:
            found[image.name] = fault.code
            assert fault.text
    return given.total, found


def test_a_folder_gives_all_files_and_says_what_is_closed() -> None:
    found = {"in/a.png": "in/a.png", "in/b/1.png": "in/b/1.png", "in/notes.txt": "in/notes.txt"}
    faults = {"in/link.png": "symlink", "in/far": "unreadable"}
    assert contents("in") == (5, found | faults)


def test_files_come_in_the_order_of_the_command_line_and_a_named_link_is_followed() -> None:
    total, found = contents("in/b/1.png", "in/link.png", "none.png", max_bytes=14)
    assert total == 3
    assert list(found.items())[1:3] == [("in/link.png", "out/secret.png"), ("none.png", "missing")]
    assert contents("in/link.png", max_bytes=13)[1] == {"in/link.png": "too_many_bytes"}


# A tar may have only some 100 kB between two files, and what is left out must not count as such.
LARGE = 300_000


def content(name: str) -> bytes:
    return bytes(LARGE) if "large" in name else name.encode()


def pack_zip(names: Sequence[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content(name))
    return file.getvalue()


def pack_tar(names: Sequence[str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content(name))
            archive.addfile(info, io.BytesIO(content(name)))
    return file.getvalue()


@pytest.mark.parametrize(("suffix", "total"), [("zip", 3), ("tar.gz", None)])
def test_an_archive_is_read_without_unpacking_it(suffix: str, total: int | None) -> None:
    names = ("large.png", "../../b.png", "__MACOSX/large.png", ".hidden", "folder/a.png")
    data = (pack_zip if suffix == "zip" else pack_tar)(names)
    Path(f"x.{suffix}").write_bytes(data)
    before = sorted(Path().rglob("*"))
    announced, found = contents(f"x.{suffix}", max_bytes=12)
    assert announced == total
    assert found == {
        f"x.{suffix}/large.png": "too_many_bytes",
        f"x.{suffix}/../../b.png": "../../b.png",
        f"x.{suffix}/folder/a.png": "folder/a.png",
    }
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("ahead_bytes", "waiting"), [(3 * LARGE, 4), (7 * LARGE, 7)])
def test_large_images_of_an_archive_wait_for_those_before_them(
    ahead_bytes: int, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "AHEAD_BYTES", ahead_bytes)
    Path("x.zip").write_bytes(pack_zip([f"large {number}.png" for number in range(30)]))
    ahead: Queue[Input] = Queue()

    def go_through() -> None:
        for image in read_inputs(["x.zip"], LARGE).images:
            ahead.put(image)

    Thread(target=go_through, daemon=True).start()
    most = 0
    for _ in range(30):
        time.sleep(0.01)
        most = max(most, ahead.qsize())
        assert len(ahead.get(timeout=20).read()) == LARGE
    assert 1 < most <= waiting

    # Threads that read them in handfuls do not wait for each other for ever.
    images = in_threads(lambda image: image.read(), read_inputs(["x.zip"], LARGE).images)
    sizes: list[int] = []
    reading = Thread(target=lambda: sizes.extend(map(len, images)), daemon=True)
    reading.start()
    reading.join(20)
    assert sizes == [LARGE] * 30


def test_a_damaged_archive_is_a_row_after_the_files_before_the_damage() -> None:
    with tarfile.open("x.tar", "w") as archive:
        archive.add("in/a.png", "a.png")
        archive.add("in/link.png", "link.png")
    Path("y.zip").write_bytes(b"PK no zip")
    total, found = contents("x.tar", "y.zip", "in/a.png")
    assert total is None
    assert list(found.items()) == [
        ("x.tar/a.png", "in/a.png"),
        ("x.tar", "damaged_archive"),
        ("y.zip", "damaged_archive"),
        ("in/a.png", "in/a.png"),
    ]
    with pytest.raises(UserError, match="only zip and tar"):
        Path("x.7z").touch()
        read_inputs(["x.7z"], 9)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_table_names_images_relative_to_its_folder(suffix: str) -> None:
    rows = pd.DataFrame({"label": "x", "path": ["a.png", "b/1.png", "../out/secret.png", None]})
    table = Path(f"in/list.{suffix}")
    if suffix == "csv":
        rows.to_csv(table, index=False)
    elif suffix == "parquet":
        rows.to_parquet(table)
    else:
        table.write_text("".join(json.dumps(row) + "\n" for row in rows.to_dict("records")))
    total, found = contents(str(table))
    assert total == 4
    assert list(found.values()) == ["in/a.png", "in/b/1.png", "outside", "missing"]
    assert list(found)[:2] == ["in/a.png", "in/b/1.png"]
    table.with_name("other.csv").write_text("file,label\na.png,x\n")
    with pytest.raises(UserError, match=r"needs a column path .* Received: 'file', 'label'"):
        read_inputs(["in/other.csv"], 9)


class Standard:
    """Standard input. buffer: its bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (PNG, {"-": PNG.decode("latin-1")}),
        (PNG * 99, {"-": "too_many_bytes"}),
        (b"in/a.png\r\n\nnone.png", {"in/a.png": "in/a.png", "none.png": "missing"}),
        (b"\0" * 9, {"-": "\0" * 9}),
        (b"", {}),
    ],
)
def test_standard_input_is_an_image_or_a_list_of_paths(
    data: bytes, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Standard(data))
    assert contents("-") == (None, found)


@pytest.mark.parametrize("cut", range(4))
def test_a_letter_that_ends_behind_the_first_bytes_is_still_text(
    cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["x" * (FIRST_BYTES - 1 - cut), "🏠.png"]
    monkeypatch.setattr(sys, "stdin", Standard("\n".join(names).encode()))
    assert list(contents("-")[1]) == names


def test_an_image_in_standard_input_may_have_the_most_bytes_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = FIRST_BYTES + 100
    for size, code in ((most, None), (most + 1, "too_many_bytes")):
        data = PNG + bytes(size - len(PNG))
        monkeypatch.setattr(sys, "stdin", Standard(data))
        assert contents("-", max_bytes=most)[1] == {"-": code or data.decode("latin-1")}


def test_a_text_without_an_end_of_line_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Standard(b"x" * 10 * LONGEST_LINE))
    images = read_inputs(["-"], 9).images
    assert max(len(image.name) for image in images) < 3 * LONGEST_LINE


def test_a_long_list_of_paths_keeps_every_line_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"in/döner {number}.png" for number in range(2_000)]
    monkeypatch.setattr(sys, "stdin", Standard("\n".join(names).encode()))
    assert list(contents("-")[1]) == names
    with pytest.raises(UserError, match="only once"):
        read_inputs(["-", "in", "-"], 9)
