"""Archives that are broken, hostile or odd → one sentence, and nothing outside of the folder."""

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from components.archives.members import HEADER_BYTES
from components.archives.unpacking import LIMITS, announced_bytes, is_archive, unpack
from components.errors import UserError
from components.sources.listing import is_junk

FILES = {"cat/1.png": b"cat one", "cat/2.png": b"", "dog/ü x.png": bytes(range(256)) * 300}
FORMATS = {"zip": "zip", "tar": "tar", "gztar": "tar.gz", "bztar": "tar.bz2", "xztar": "tar.xz"}
Members = list[tuple[tarfile.TarInfo | str, bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where archives are unpacked, in a parent of its own that must stay as it is."""
    folder = tmp_path / "around/here"
    folder.mkdir(parents=True)
    return folder


def zipped(path: Path, members: Members, **options: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            assert isinstance(name, str)
            archive.writestr(zip_info(name, **options), content)
    return path


def zip_info(name: str, mode: int = 0, compression: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, compression
    return info


def tarred(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(archive: Path, folder: Path, **limits: int) -> str:
    """Return the sentence; nothing but the folder itself may hold anything of the archive."""
    before = sorted(folder.parent.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        unpack(archive, folder, replace(LIMITS, **limits))
    left = sorted(path for path in folder.parent.parent.rglob("*") if folder not in path.parents)
    assert left == [path for path in before if folder not in path.parents]
    sentence = str(caught.value)
    assert sentence.startswith(str(archive))
    assert "Received: " in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_files_and_their_sums(
    kind: str, tmp_path: Path, folder: Path
) -> None:
    for name, content in FILES.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_bytes(content)
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), kind, tmp_path / "made"))
    assert archive.name == f"photos.{FORMATS[kind]}"
    unpacked = unpack(archive, folder)
    assert unpacked.sums == {name: sha256(content).hexdigest() for name, content in FILES.items()}
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


BAD_NAMES = {
    "../out.png": "lead out",
    "cat/../../out.png": "lead out",
    "/tmp/out.png": "lead out",
    "C:/out.png": "lead out",
    "C:out.png": "lead out",
    "cat\\1.png": "with a backslash, which separates folders on Windows",
    f"{'n' * 256}.png": "too long",
    f"{'ü' * 128}/1.png": "too long",
    ".": "empty",
}


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_is_no_plain_path_is_refused(
    name: str, make: Callable[[Path, Members], Path], tmp_path: Path, folder: Path
) -> None:
    suffix = "zip" if make is zipped else "tar"
    archive = make(tmp_path / f"bad.{suffix}", [("cat/0.png", b"fine"), (name, b"not")])
    assert BAD_NAMES[name] in refused(archive, folder)


def on_windows(path: Path, names: dict[str, bytes], flags: int = 0x800) -> Path:
    """Write a zip as Windows programs do: name (as stored) → content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            info = zipfile.ZipInfo("x")
            info.create_system, info.filename, info.flag_bits = 0, name, flags
            archive.writestr(info, content)
    return path


def test_backslashes_of_windows_separate_folders(tmp_path: Path, folder: Path) -> None:
    names = {"cat\\": b"", "cat\\1.png": b"one", "dog\\ü\\2.png": b"two", "dog/3.png": b"three"}
    unpacked = unpack(on_windows(tmp_path / "new.zip", names), folder)
    assert sorted(unpacked.sums) == ["cat/1.png", "dog/3.png", "dog/ü/2.png"]
    assert (folder / "dog/ü/2.png").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cat\\..\\..\\out.png", "lead out"),
        ("\\out.png", "lead out"),
        ("C:\\out.png", "lead out"),
        ("cat\\0.png", "same name twice"),
    ],
)
def test_backslashes_of_windows_are_checked_like_slashes(
    name: str, why: str, tmp_path: Path, folder: Path
) -> None:
    assert why in refused(on_windows(tmp_path / "bad.zip", {"cat/0.png": b"", name: b""}), folder)


def test_a_backslash_in_half_a_letter_of_shift_jis_is_no_separator(
    tmp_path: Path, folder: Path
) -> None:
    stored = "表.png".encode("shift_jis")  # b"\x95\\.png"
    archive = on_windows(tmp_path / "new.zip", {"x" * len(stored): b"one"}, flags=0)
    data = archive.read_bytes().replace(b"x" * len(stored), stored)
    archive.write_bytes(data)
    assert "a name with a backslash that is not UTF-8" in refused(archive, folder)


def test_a_name_of_255_bytes_and_names_with_odd_signs_round_trip(
    tmp_path: Path, folder: Path
) -> None:
    names = [
        "n" * 255,
        "cat/-rf",
        "cat/line\nbreak.png",
        "cat/a.. .png",
        "猫/ü.png",
        "./dog//1.png",
    ]
    archive = tarred(tmp_path / "odd.tar", [(name, b"x") for name in names])
    assert list(unpack(archive, folder).sums) == [*names[:-1], "dog/1.png"]


def test_a_zip_name_that_ends_early_at_a_nul_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = zipped(tmp_path / "nul.zip", [("cat/1.png_.exe", b"x")])
    archive.write_bytes(archive.read_bytes().replace(b"1.png_.exe", b"1.png\0.exe"))
    assert "NUL" in refused(archive, folder)


def test_utf_8_names_of_a_zip_are_read_without_the_flag_and_others_as_code_page_437(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = zipped(tmp_path / "names.zip", [("cat/uuuu.png", b"1"), ("dog/uu.png", b"2")])
    content = archive.read_bytes().replace(b"uuuu", "üß".encode())
    archive.write_bytes(content.replace(b"uu.", "üß.".encode("cp437")))
    assert list(unpack(archive, folder).sums) == ["cat/üß.png", "dog/üß.png"]
    # The same bytes could be other letters, such as those of Japanese Windows, so the user looks.
    warning = "1 name of the zip is not in UTF-8 and may look wrong, such as dog/üß.png; if so, "
    assert warning in capsys.readouterr().out


def test_a_tar_name_that_is_not_utf_8_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tarred(tmp_path / "latin.tar", [("cat/\udcfc.png", b"x")])
    assert "not UTF-8" in refused(archive, folder)


@pytest.mark.parametrize(
    "info",
    [
        tar_info("cat/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        tar_info("cat/hard.png", tarfile.LNKTYPE, "cat/0.png"),
        tar_info("cat/pipe.png", tarfile.FIFOTYPE),
        tar_info("cat/disk.png", tarfile.BLKTYPE),
        tar_info("cat/holes.png", tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda info: info.name,
)
def test_a_tar_member_that_is_no_plain_file_is_refused_by_name(
    info: tarfile.TarInfo, tmp_path: Path, folder: Path
) -> None:
    archive = tarred(tmp_path / "odd.tar", [("cat/0.png", b"fine"), (info, b"")])
    assert info.name in refused(archive, folder)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_a_zip_member_that_is_no_plain_file_is_refused(
    kind: int, tmp_path: Path, folder: Path
) -> None:
    archive = zipped(tmp_path / "link.zip", [("cat/1.png", b"/etc/passwd")], mode=kind | 0o777)
    assert "cat/1.png" in refused(archive, folder)


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused_however_it_is_spelt(
    make: Callable[[Path, Members], Path], tmp_path: Path, folder: Path
) -> None:
    suffix = "zip" if make is zipped else "tar"
    archive = make(tmp_path / f"twice.{suffix}", [("cat/1.png", b"a"), ("cat/./1.png", b"b")])
    assert "twice" in refused(archive, folder)


def test_a_file_that_would_have_to_be_a_folder_too_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tarred(tmp_path / "both.tar", [("cat", b"file"), ("cat/1.png", b"x")])
    assert "a file and a folder" in refused(archive, folder)


def test_names_that_differ_in_case_only_are_two_files(tmp_path: Path, folder: Path) -> None:
    archive = tarred(tmp_path / "case.tar", [("cat/A.png", b"1"), ("cat/a.png", b"2")])
    assert len(unpack(archive, folder).sums) == 2


def test_what_file_browsers_leave_is_not_unpacked_but_listed(tmp_path: Path, folder: Path) -> None:
    junk = ["__MACOSX/cat/._1.png", "cat/.DS_Store", "Thumbs.db", ".git/config", "a/desktop.ini"]
    archive = zipped(tmp_path / "mac.zip", [(name, b"x") for name in ["cat/1.png", *junk]])
    unpacked = unpack(archive, folder)
    assert list(unpacked.sums) == ["cat/1.png"]
    assert unpacked.skipped == tuple(junk)
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / "cat/1.png"]


def test_a_large_hidden_file_of_a_tar_is_left_out_like_a_small_one(
    tmp_path: Path, folder: Path
) -> None:
    members = [("cat/._1.png", bytes(300_000)), ("cat/1.png", b"x")]
    unpacked = unpack(tarred(tmp_path / "mac.tar", members), folder)
    assert (list(unpacked.sums), unpacked.skipped) == (["cat/1.png"], ("cat/._1.png",))


def test_junk_is_known_by_any_part_of_a_path() -> None:
    assert is_junk("cat/.hidden/1.png")
    assert not is_junk("cat/1.hidden.png")


# Bombs


def test_a_zip_bomb_is_stopped_by_what_really_comes_out(tmp_path: Path, folder: Path) -> None:
    archive = zipped(tmp_path / "bomb.zip", [("a.npy", bytes(2**25)), ("b.npy", bytes(2**25))])
    assert announced_bytes(archive) > 500 * archive.stat().st_size
    assert "far larger than the archive" in refused(archive, folder, free_bytes=2**21)
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 2**23


def test_a_zip_that_lies_about_its_size_is_damaged_not_believed(
    tmp_path: Path, folder: Path
) -> None:
    archive = zipped(tmp_path / "lie.zip", [("a.npy", bytes(2**20))])
    announced = (2**20).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(announced, (100).to_bytes(4, "little")))
    assert "damaged" in refused(archive, folder)
    assert announced_bytes(archive) == 100


def test_a_tar_bomb_is_stopped_too(tmp_path: Path, folder: Path) -> None:
    plain = tarred(tmp_path / "bomb.tar", [("a.npy", bytes(2**25))])
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(gzip.compress(plain.read_bytes()))
    assert "far larger than the archive" in refused(archive, folder, free_bytes=2**20)


def test_small_files_that_shrink_well_are_no_bomb(tmp_path: Path, folder: Path) -> None:
    archive = zipped(tmp_path / "masks.zip", [("a.bmp", bytes(2**22)), ("b.bmp", bytes(2**22))])
    assert announced_bytes(archive) > 500 * archive.stat().st_size
    assert len(unpack(archive, folder).sums) == 2


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"members": 2}, "more files"),
        ({"member_bytes": 5}, "far larger"),
        ({"total_bytes": 9}, "far"),
    ],
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_every_limit_holds(
    limits: dict[str, int],
    sentence: str,
    make: Callable[[Path, Members], Path],
    tmp_path: Path,
    folder: Path,
) -> None:
    suffix = "zip" if make is zipped else "tar"
    archive = make(tmp_path / f"three.{suffix}", [(f"{n}.png", b"xxxxxx"[n:]) for n in range(3)])
    assert sentence in refused(archive, folder, **limits)


def test_folders_count_as_members_and_are_not_made(tmp_path: Path, folder: Path) -> None:
    names = [tar_info(f"{n}", tarfile.DIRTYPE) for n in range(3 * HEADER_BYTES // 512)]
    archive = tarred(tmp_path / "folders.tar", [(info, b"") for info in names])
    assert unpack(archive, folder).sums == {}
    assert list(folder.iterdir()) == []
    assert "more files" in refused(archive, folder, members=9)


def test_a_tar_header_of_a_hundred_megabytes_does_not_fill_the_memory(
    tmp_path: Path, folder: Path
) -> None:
    header = tar_info("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 100 * 2**20
    archive = tmp_path / "long.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(b"n" * 2**20)
    tracemalloc.start()
    try:
        assert "between two files" in refused(archive, folder)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_in_an_archive_is_a_plain_file(tmp_path: Path, folder: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", [("../../out.png", b"x")])
    archive = zipped(tmp_path / "outer.zip", [("inner.zip", inner.read_bytes())])
    unpack(archive, folder)
    assert (folder / "inner.zip").read_bytes() == inner.read_bytes()


# Damage


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_cut_off_anywhere_is_damaged(
    make: Callable[[Path, Members], Path], tmp_path: Path, folder: Path
) -> None:
    suffix = "zip" if make is zipped else "tar"
    whole = make(tmp_path / f"whole.{suffix}", [(f"{n}.png", os.urandom(700)) for n in range(3)])
    content = whole.read_bytes()
    cuts = [0, 1, 300, 512, 700, 1536, 3 * 1536 if suffix == "tar" else len(content) - 1]
    for cut in cuts:
        archive = tmp_path / f"cut.{suffix}"
        archive.write_bytes(content[:cut])
        assert "damaged" in refused(archive, folder), cut
        shutil.rmtree(folder)
        folder.mkdir()


def test_a_flipped_bit_is_damage_wherever_the_format_has_a_checksum(
    tmp_path: Path, folder: Path
) -> None:
    archive = zipped(tmp_path / "flip.zip", [("1.png", os.urandom(5000))])
    content = bytearray(archive.read_bytes())
    content[2000] ^= 1
    archive.write_bytes(content)
    assert "damaged" in refused(archive, folder)
    plain = tarred(tmp_path / "flip.tar", [("1.png", os.urandom(5000))])
    content = bytearray(gzip.compress(plain.read_bytes()))
    content[-6] ^= 1  # the checksum, which stands behind everything that tarfile reads
    packed = tmp_path / "flip.tgz"
    packed.write_bytes(content)
    shutil.rmtree(folder)
    folder.mkdir()
    assert "damaged" in refused(packed, folder)


@pytest.mark.parametrize("name", ["web.zip", "web.tar", "web.tar.gz", "web.tar.xz"])
def test_a_web_page_called_an_archive_is_damaged(name: str, tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / name
    archive.write_bytes(b"<!doctype html><title>404</title>" * 100)
    assert "not what its name says" in refused(archive, folder)


def test_an_encrypted_zip_says_so(tmp_path: Path, folder: Path) -> None:
    archive = zipped(tmp_path / "secret.zip", [("cat/1.png", b"x")])
    content = bytearray(archive.read_bytes())
    for header in (b"PK\x03\x04", b"PK\x01\x02"):  # its flags are 6 and 8 bytes behind
        content[content.index(header) + (6 if header[2] == 3 else 8)] |= 1
    archive.write_bytes(content)
    assert re.search("encrypted.*cat/1.png", refused(archive, folder))


def test_a_zip_compressed_as_no_browser_reads_it_is_to_be_repacked(
    tmp_path: Path, folder: Path
) -> None:
    archive = tmp_path / "lzma.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("cat/1.png", b"x" * 100)
    assert "method 14" in refused(archive, folder)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [(6, 99, "version 9.9"), (8, 1 << 5, "flag bit 5"), (8, 1 << 6, "flag bit 6")],
)
def test_a_zip_that_needs_what_few_programs_read_says_so(
    place: int, value: int, said: str, tmp_path: Path, folder: Path
) -> None:
    archive = zipped(tmp_path / "new.zip", [("cat/1.png", b"x")])
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    archive.write_bytes(content)
    sentence = refused(archive, folder)
    assert said in sentence
    assert "unpack it" in sentence


def test_a_zip_whose_places_lie_before_its_start_is_damaged(tmp_path: Path, folder: Path) -> None:
    archive = zipped(tmp_path / "before.zip", [("cat/1.png", b"x" * 10)])
    content = bytearray(archive.read_bytes())
    end = content.index(b"PK\x05\x06")
    size = int.from_bytes(content[end + 12 : end + 16], "little")
    # A central directory that is said to stand behind where it does shifts members before byte 0.
    content[end + 16 : end + 20] = (end - size + 50).to_bytes(4, "little")
    archive.write_bytes(content)
    assert "damaged" in refused(archive, folder)


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.tgz", "a.txz", "a.tbz"])
def test_archives_are_known_by_their_names(name: str) -> None:
    assert is_archive(Path(name))


def test_arrays_are_files_and_other_archives_are_refused() -> None:
    assert not is_archive(Path("a.npz"))
    assert not is_archive(Path("zip"))
    with pytest.raises(UserError, match=r"zip and tar.*Received: a\.7z"):
        is_archive(Path("a.7z"))
