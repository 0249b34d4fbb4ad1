"""data/raw in folders → its pictures: what is found, what is guessed, what is refused."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.errors import UserError
from components.images.fault import Fault
from components.params.ingest import Source
from components.params.reader import Params
from components.sources.listing import Listing
from components.sources.reading import read_bytes
from components.sources.source import open_source

ROOT = Path(__file__).parents[3]
MANY = 10**9
NO_STATE = Path("unused")  # for arrays alone


@pytest.fixture
def source(params: Params) -> Source:
    return params.ingest.source


def fill(root: Path, *names: str) -> Path:
    """Write a file under each name; its content is its name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def paths(listing: Listing) -> list[str]:
    return [entry.path for entry in listing.entries]


def code_of(root: Path, path: str, max_bytes: int = MANY) -> str:
    with pytest.raises(Fault) as caught:
        read_bytes(root, path, max_bytes, NO_STATE)
    return caught.value.code


def refused(root: Path, source: Source, **changes: str) -> str:
    with pytest.raises(UserError) as caught:
        open_source(root, source.model_copy(update=changes))
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)
    return str(caught.value)


def test_class_folders_are_found_and_told(tmp_path: Path, source: Source) -> None:
    fill(tmp_path, "dog/1.jpg", "cat/deep/er/2.PNG", "cat/1.jpeg", "cat/note.txt")
    listing = open_source(tmp_path, source)
    assert listing.kind == "class_folders"
    assert paths(listing) == ["cat/1.jpeg", "cat/deep/er/2.PNG", "dog/1.jpg"]
    assert [entry.label for entry in listing.entries] == ["cat", "cat", "dog"]
    assert {(entry.group, entry.given_split) for entry in listing.entries} == {(None, None)}
    assert listing.notes[0] == "class folders (3 images, 2 classes)"
    assert listing.ignored == ("cat/note.txt",)


@pytest.mark.parametrize("name", ["labels.json", "labels.txt", "labels.xlsx"])
def test_a_file_of_labels_that_is_not_read_is_named(
    name: str, tmp_path: Path, source: Source
) -> None:
    error = refused(fill(tmp_path, "images/1.png", "images/2.png", name), source)
    assert f"if the labels are in {name}, save them as a table with one row per image" in error
    assert "only .csv, .tsv, .parquet, .jsonl are read as tables" in error
    assert name not in refused(fill(tmp_path / "below", f"images/{name}", "images/1.png"), source)


DICOM = bytes(128) + b"DICM" + bytes(50)


def test_images_without_the_ending_of_an_image_are_named_with_what_to_do(
    tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, "cat/notes.txt")
    (tmp_path / "cat/IM0001").write_bytes(DICOM)
    error = refused(tmp_path, source)
    assert "cat/IM0001 is ignored: it is a DICOM file of a medical device; convert it" in error
    fill(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog/2.dat").write_bytes(b"\xff\xd8\xff\xe0")
    assert open_source(tmp_path, source).notes[-2:] == (
        "cat/IM0001 is ignored: it is a DICOM file of a medical device; convert it to PNG of 16 "
        "bits, for example by `dcmj2pnm +on2 IN.dcm OUT.png` of DCMTK",
        "dog/2.dat is ignored: it is an image; let its name end with .jpeg",
    )


def test_class_folders_inside_of_the_only_folder_are_named(tmp_path: Path, source: Source) -> None:
    error = refused(fill(tmp_path, "photos/cat/1.png", "photos/dog/1.png"), source)
    assert "if the classes are photos/cat, photos/dog, move these folders to the top" in error
    assert "move these" not in refused(fill(tmp_path / "flat", "photos/1.png"), source)


def test_without_class_folders_the_files_that_are_there_are_named(
    tmp_path: Path, source: Source
) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(100))
    error = refused(fill(tmp_path, "notes.md"), source)
    assert "train_32x32.mat is ignored: it is a MATLAB file; save its pictures as PNG" in error
    assert error.endswith("Received: 0 images, 0 folders, and notes.md, train_32x32.mat")


def test_a_missing_folder_of_images_is_answered_with_the_ways_to_get_it(
    tmp_path: Path, source: Source
) -> None:
    error = refused(tmp_path / "raw", source)
    assert f"a file {tmp_path / 'raw'}.dvc, run `dvc checkout` or `dvc pull`; if not, " in error


def test_split_folders_are_found_under_any_of_their_words(tmp_path: Path, source: Source) -> None:
    fill(tmp_path, "Training/cat/1.png", "valid/cat/2.png", "test/dog/new/3.png")
    listing = open_source(tmp_path, source)
    assert listing.kind == "split_folders"
    found = [(entry.path, entry.label, entry.given_split) for entry in listing.entries]
    assert found == [
        ("Training/cat/1.png", "cat", "train"),
        ("test/dog/new/3.png", "dog", "test"),
        ("valid/cat/2.png", "cat", "val"),
    ]
    assert listing.notes[0] == "split folders (3 images, 2 classes, train, val, test)"


def test_a_subfolder_is_a_group_of_its_class_whatever_its_split(
    tmp_path: Path, source: Source
) -> None:
    names = ["cat/1.png", "cat/s1/1.png", "cat/s1/b/1.png", "dog/s1/1.png"]
    fill(tmp_path / "plain", *names)
    fill(tmp_path / "given", *(f"{side}/{name}" for name in names for side in ("train", "test")))
    grouped = source.model_copy(update={"group": "subfolder"})
    plain = {entry.path: entry.group for entry in open_source(tmp_path / "plain", grouped).entries}
    assert plain == dict(zip(names, [None, "cat/s1", "cat/s1/b", "dog/s1"], strict=True))
    given = {entry.path: entry.group for entry in open_source(tmp_path / "given", grouped).entries}
    assert all(given[f"train/{name}"] == given[f"test/{name}"] == plain[name] for name in names)


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["labels.csv", "cat/1.png", "dog/1.png"], "table or class_folders"),
        (["labels.csv", "more.jsonl"], "one .csv, .tsv, .parquet, .jsonl file"),
        (["labels.csv", "data.npz"], "table or arrays"),
        (["data.npz", "cat/1.png"], "arrays or class_folders"),
        (["train/cat/1.png", "test/dog/1.png", "extra/1.png"], "split_folders or class_folders"),
        (["train/cat/1.png", "test/1.png"], "split_folders or class_folders"),
        (["train/1.png", "test/1.png"], "split_folders or class_folders"),
        (
            [f"{top}/{label}/1.png" for top in ("train", "validate") for label in ("cat", "dog")],
            "split_folders or class_folders",
        ),
    ],
)
def test_what_can_be_two_things_is_left_to_a_person(
    names: list[str], kinds: str, tmp_path: Path, source: Source
) -> None:
    error = refused(fill(tmp_path, *names), source)
    assert kinds in error
    assert "ingest.source.kind" in error


JUNK = [".ipynb_checkpoints/1.png", "__MACOSX/cat/._1.png", "cat/._1.png", ".DS_Store"]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["cat/1.png", "dog/1.png"], "class_folders"),
        (["train/cat/1.png", "train/dog/1.png", "test/cat/1.png"], "split_folders"),
    ],
)
def test_what_is_hidden_or_left_by_a_file_browser_is_no_class_and_no_image(
    names: list[str], kind: str, tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, *names, *JUNK, "cat/Thumbs.db") if kind == "class_folders" else fill(
        tmp_path, *names, *JUNK[:2], "train/cat/._1.png", "train/.hidden/1.png"
    )
    listing = open_source(tmp_path, source)
    assert listing.kind == kind
    assert paths(listing) == sorted(names)
    assert {entry.label for entry in listing.entries} == {"cat", "dog"}
    left_out = 5 if kind == "class_folders" else 4
    assert listing.notes[1].startswith(
        f"{left_out} files are left out, hidden or made by a file browser ("
    )


def test_a_hidden_twin_of_a_table_and_hidden_images_leave_a_table_one(
    tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, "images/1.png", "images/2.png", "._labels.csv", *JUNK[:2])
    (tmp_path / "labels.csv").write_text("path,label\nimages/1.png,cat\nimages/2.png,dog\n")
    assert paths(open_source(tmp_path, source)) == ["images/1.png", "images/2.png"]


def test_one_class_may_be_called_like_a_split(tmp_path: Path, source: Source) -> None:
    fill(tmp_path, "train/steam/1.png", "bus/1.png")
    assert [entry.label for entry in open_source(tmp_path, source).entries] == ["bus", "train"]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("table", r"one \.csv, \.tsv, \.parquet, \.jsonl file .*Received: none"),
        ("arrays", r"one \.npz file.*Received: none"),
        ("split_folders", r"called train, .*Received: cat"),
    ],
)
def test_a_kind_that_is_not_there_is_said(
    kind: str, sentence: str, tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, "cat/1.png", "dog/1.png")
    with pytest.raises(UserError, match=sentence):
        open_source(tmp_path, source.model_copy(update={"kind": kind}))


def test_a_kind_that_is_set_settles_what_is_unclear(tmp_path: Path, source: Source) -> None:
    fill(tmp_path, "train/1.png", "test/1.png", "notes.csv")
    set_to = source.model_copy(update={"kind": "class_folders"})
    assert [entry.label for entry in open_source(tmp_path, set_to).entries] == ["test", "train"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["stray.png"], "no class folder"),
        (["cat/note.txt"], "no image"),
        (["cat/1.png", "cat/2.png"], "two classes or more"),
        (["images.tar.gz"], "fovea data add"),
        (["cat/1.png", "d\nog/1.png"], "one line of text"),
        (["cat/1.png", "d\x1bog/1.png"], "one line of text"),
        (["cat/1.png", "d\u2028og/1.png"], "one line of text"),
    ],
)
def test_what_cannot_be_trained_on_ends_in_one_sentence(
    names: list[str], sentence: str, tmp_path: Path, source: Source
) -> None:
    assert sentence in refused(fill(tmp_path, *names), source)


def test_names_that_cannot_be_printed_are_written_out_in_what_is_logged(
    tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, "cat/1.png", "dog/1.png", "cat/a.new\nline")
    (tmp_path / "cat" / os.fsdecode(b"x.\xff")).touch()
    note = open_source(tmp_path, source).notes[1]
    assert note == (
        "2 files are no pictures of the source, so ignored (1 × .\\udcff, 1 × .new\\nline)"
    )
    error = refused(fill(tmp_path, "train/cat/1.png", "tests\n/1.png", "val/1.png"), source)
    assert "tests\\n" in error


def test_groups_of_folders_are_refused_for_what_has_none(tmp_path: Path, source: Source) -> None:
    fill(tmp_path, "labels.csv")
    assert "columns.group" in refused(tmp_path, source, group="subfolder")


def test_labels_of_any_script_are_kept(tmp_path: Path, source: Source) -> None:
    labels = ["Γάτα", "سگ\u200cها", "a b", "猫", "🐕\u200d🦺"]
    fill(tmp_path, *(f"{label}/1.png" for label in labels))
    assert {entry.label for entry in open_source(tmp_path, source).entries} == set(labels)


def test_links_to_folders_are_logged_as_what_they_hide(tmp_path: Path, source: Source) -> None:
    raw = fill(tmp_path / "raw", "cat/1.png", "dog/1.png")
    fill(tmp_path / "outside", "secret.png")
    (raw / "fox").symlink_to(tmp_path / "outside", target_is_directory=True)
    listing = open_source(raw, source)
    assert paths(listing) == ["cat/1.png", "dog/1.png", "fox"]
    assert code_of(raw, "fox") == "symlink"


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    raw = fill(tmp_path / "raw", "cat/1.png")
    outside = fill(tmp_path / "outside", "secret.png")
    (raw / "link.png").symlink_to(outside / "secret.png")
    (raw / "folder").symlink_to(outside, target_is_directory=True)
    (raw / "loop").symlink_to(raw / "loop")
    codes = {
        "link.png": "symlink",
        "loop": "symlink",
        "folder/secret.png": "symlink",
        "../outside/secret.png": "outside",
        "cat/../../outside/secret.png": "outside",
        str(outside / "secret.png"): "outside",
        "/etc/hostname": "outside",
        "": "outside",
        "cat": "not_a_file",
        "cat/2.png": "missing",
        "dog/1.png": "missing",
        "cat/1.png/1.png": "missing",
        "cat/\0.png": "missing",
        "cat/" + "a" * 256: "missing",
    }
    assert {path: code_of(raw, path) for path in codes} == codes
    assert read_bytes(raw, "cat/1.png", MANY, NO_STATE) == b"cat/1.png"


def test_a_folder_that_turns_into_a_link_lets_nothing_out(tmp_path: Path) -> None:
    raw, outside = tmp_path / "raw", fill(tmp_path / "outside", "1.png")
    fill(raw, "cat/1.png")
    stop = threading.Event()

    def swap() -> None:
        (raw / "link").symlink_to(outside, target_is_directory=True)
        while not stop.is_set():
            (raw / "cat").rename(raw / "real")
            (raw / "link").rename(raw / "cat")
            (raw / "cat").rename(raw / "link")
            (raw / "real").rename(raw / "cat")

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    for _ in range(3000):
        try:
            seen.add(read_bytes(raw, "cat/1.png", MANY, NO_STATE))
        except Fault as fault:
            seen.add(fault.code.encode())
    stop.set()
    swapping.join()
    assert seen <= {b"cat/1.png", b"symlink", b"missing"}


def test_no_pipe_and_no_socket_makes_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the address of a socket may not be long
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    assert [code_of(tmp_path, name) for name in ("pipe.png", "socket.png")] == ["not_a_file"] * 2


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(10**12)
    assert code_of(tmp_path, "big.png", 10**6) == "too_many_bytes"


def test_every_name_comes_back_exactly(tmp_path: Path, source: Source) -> None:
    names = [
        *("-rf.png", "new\nline.png", "é.png", "e\u0301.png", "a" * 251 + ".png"),
        *(" .png", "tab\t.png", 'quote".png', "back\\slash.png", "comma,.png", "😀.png", "%2e.png"),
    ]
    fill(tmp_path, "cat/1.png", *(f"dog/{name}" for name in names))
    listing = open_source(tmp_path, source)
    assert set(paths(listing)) == {"cat/1.png", *(f"dog/{name}" for name in names)}
    for path in paths(listing):
        assert read_bytes(tmp_path, path, MANY, NO_STATE) == path.encode()


AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from components.images.fault import Fault
from components.sources.reading import read_bytes
from components.sources.source import open_source
from components.errors import UserError
from components.params.reader import read_params
source = read_params(Path({root!r}) / "pipelines/commands/cards/digits.yaml").ingest.source
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    for entry in open_source(Path({raw!r}), source).entries:
        try:
            data = read_bytes(Path({raw!r}), entry.path, 10**9, Path())
            print(entry.path, entry.label, len(data))
        except Fault as fault:
            print(entry.path, entry.label, fault.code)
except UserError as error:
    print(error)
"""


def as_nobody(raw: Path) -> list[str]:
    """What a user without rights sees of a folder."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become a user without rights")
    code = AS_NOBODY.format(root=str(ROOT), raw=str(raw))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "PermissionError" in done.stderr:
        pytest.skip(f"cannot become a user without rights here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that everybody may go into; pytest's own are closed to others."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", "test_")):
            folder.chmod(0o755)
    return tmp_path


def test_a_folder_that_may_not_be_listed_is_a_row(open_folder: Path) -> None:
    raw = fill(open_folder / "raw", "cat/1.png", "cat/closed/2.png", "dog/1.png", "fox/1.png")
    fill(raw, "dog/through/1.png", "dog/3.png")
    (raw / "cat/closed").chmod(0)
    (raw / "fox").chmod(0)
    (raw / "dog/through").chmod(0o444)  # names can be seen, files not opened
    (raw / "dog/3.png").chmod(0)
    assert as_nobody(raw) == [
        "cat/1.png cat 9",
        "cat/closed cat unreadable",
        "dog/1.png dog 9",
        "dog/3.png dog unreadable",
        "dog/through/1.png dog unreadable",
        "fox fox unreadable",
    ]


def test_a_root_that_may_not_be_listed_is_said(open_folder: Path) -> None:
    raw = fill(open_folder / "raw", "cat/1.png", "dog/1.png")
    raw.chmod(0o311)
    (sentence,) = as_nobody(raw)
    assert sentence == f"the folder {raw} cannot be listed; make it readable. " + (
        "Received: Permission denied"
    )


def test_a_file_in_a_folder_that_is_only_for_passing_is_read(open_folder: Path) -> None:
    raw = fill(open_folder / "raw", "images/1.png", "images/2.png")
    (raw / "labels.csv").write_text("path,label\nimages/1.png,cat\nimages/2.png,dog\n")
    (raw / "images").chmod(0o711)
    assert as_nobody(raw) == ["images/1.png cat 12", "images/2.png dog 12"]


def test_a_class_of_pictures_that_are_refused_is_not_silently_gone(
    tmp_path: Path, source: Source
) -> None:
    fill(tmp_path, "cat/1.png", "dog/1.png", "bird/1.tif", "bird/2.GIF", "bird/notes.txt")
    listing = open_source(tmp_path, source)
    assert {"bird/1.tif", "bird/2.GIF"} <= set(paths(listing))
    assert "bird/notes.txt" not in paths(listing)


@pytest.mark.parametrize(("name", "status"), [("1.png", 0), ("größe.png", 1)])
def test_in_a_locale_without_utf_8_names_are_right_or_one_sentence(
    name: str, status: int, tmp_path: Path
) -> None:
    fill(tmp_path, f"cat/{name}")
    program = "from pathlib import Path; from components.sources.tree import scan; "
    done = subprocess.run(
        [sys.executable, "-c", f"{program}print(scan(Path({str(tmp_path)!r})).files)"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
             "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == status
    assert ("run `export PYTHONUTF8=1` first. Received: cat/gr" in done.stderr) == bool(status)
