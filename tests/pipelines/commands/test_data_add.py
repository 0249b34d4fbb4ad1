"""`fovea data add` with real git and DVC: everything comes in or nothing, whatever happens."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.artifacts import RAW
from pipelines.commands import data_add
from pipelines.commands.data_add import add_images
from pipelines.workspace import dvc_files, locks
from tests.pipelines.versioned import IMAGES, ROOT, commit, dvc, make_repository, read, run, write

CATS = {name: content for name, content in IMAGES.items() if name.startswith("cat/")}
OWLS = {f"owl/{n}.png": f"owl {n}".encode() for n in range(3)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two classes added and committed; to be copied."""
    folder, here = tmp_path_factory.mktemp("template"), Path.cwd()
    make_repository(folder)
    write(RAW, IMAGES)
    dvc("add", "--quiet", str(RAW))
    commit("first images")
    os.chdir(here)
    return folder


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Spares the tests that are about files the second that DVC takes."""
    tracked: list[Path] = []
    monkeypatch.setattr(data_add, "track_with_dvc", lambda raw, keep_open: tracked.append(raw))
    return tracked


def refused(path: Path, **options: object) -> str:
    """Return the sentence, after making sure that nothing has changed."""
    before = {file: (file.stat().st_ino, file.read_bytes()) for file in files_of(Path("data"))}
    with pytest.raises(UserError) as caught:
        add_images(path, **options)  # type: ignore[arg-type]
    after = {file: (file.stat().st_ino, file.read_bytes()) for file in files_of(Path("data"))}
    assert after == before
    sentence = str(caught.value)
    assert "Received: " in sentence
    assert "\n" not in sentence
    return sentence


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_a_folder_comes_in_beside_what_is_there_and_is_tracked(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_images(write(tmp_path / "new", {**OWLS, "dog/9.png": b"nine"}))
    assert read(RAW) == {**IMAGES, **OWLS, "dog/9.png": b"nine"}
    recorded = dvc_files.recorded_files(RAW)
    assert recorded is not None
    assert sorted(recorded) == sorted(read(RAW))
    assert run("git", "status", "--porcelain") == "M data/raw.dvc"
    out = capsys.readouterr().out
    assert "4 files added to data/raw (dog: 1, owl: 3)" in out
    assert "next: git add data/raw.dvc && dvc repro" in out


def test_what_is_in_place_already_is_not_read_again_by_dvc(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    before = {name: (RAW / name).stat() for name in IMAGES}
    add_images(write(tmp_path / "new", {**OWLS, **CATS}))
    for name, status in before.items():
        now = (RAW / name).stat()
        assert (now.st_ino, now.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)


def test_the_first_images_of_a_repository_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty")
    add_images(write(tmp_path / "new", IMAGES))
    assert read(RAW) == IMAGES
    assert Path("data/raw.dvc").is_file()


def test_a_later_edit_of_the_source_changes_nothing_in_data_raw(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    source = write(tmp_path / "new", OWLS)
    add_images(source)
    with (source / "owl/1.png").open("r+b") as file:  # in place, as exiftool does
        file.write(b"XXX")
    assert read(RAW) == {**IMAGES, **OWLS}
    assert (RAW / "owl/1.png").stat().st_nlink == 1


def test_adding_the_same_twice_is_counted_and_harmless(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], untracked: list[Path]
) -> None:
    add_images(write(tmp_path / "new", IMAGES))
    assert read(RAW) == IMAGES
    assert "0 files added to data/raw; 6 were there already" in capsys.readouterr().out
    assert untracked == [RAW]  # a kill may have come between the two


def test_other_content_under_a_name_that_is_taken_overwrites_only_with_replace(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    other = write(tmp_path / "new", {"cat/1.png": b"x" * len(IMAGES["cat/1.png"]), **OWLS})
    assert "--replace. Received: cat/1.png" in refused(other)
    add_images(other, replace_others=True)
    assert read(RAW) == {**IMAGES, **OWLS, "cat/1.png": b"x" * len(IMAGES["cat/1.png"])}


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_an_archive_is_unpacked(
    kind: str, repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    write(tmp_path / "new", {**OWLS, **CATS})
    add_images(Path(shutil.make_archive(str(tmp_path / "a"), kind, tmp_path / "new")))
    assert read(RAW) == {**IMAGES, **OWLS}


def test_a_single_file_goes_where_into_says(
    repository: Path, tmp_path: Path, untracked: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"9.png": b"nine", "labels.csv": b"path,label\n"})
    add_images(tmp_path / "9.png", "cat")
    add_images(tmp_path / "labels.csv")
    assert read(RAW) == {**IMAGES, "cat/9.png": b"nine", "labels.csv": b"path,label\n"}
    assert "1 file added to data/raw (cat: 1)" in capsys.readouterr().out


@pytest.mark.parametrize("into", ["../out", "/tmp/out", "cat/../../out", ".hidden"])
def test_a_place_outside_of_data_raw_is_refused(
    into: str, repository: Path, tmp_path: Path
) -> None:
    assert "--into" in refused(write(tmp_path / "new", OWLS), into=into)


def link(folder: Path) -> None:
    (folder / "owl/link.png").symlink_to("/etc/hostname")


def folder_link(folder: Path) -> None:
    (folder / "owl/link").symlink_to("/etc")


def dangling(folder: Path) -> None:
    (folder / "owl/link.png").symlink_to("nowhere")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "owl/pipe.png")


@pytest.mark.parametrize("break_it", [link, folder_link, dangling, pipe])
@pytest.mark.parametrize("where", ["source", "data/raw"])
def test_links_and_pipes_are_refused_on_either_side_and_named(
    break_it: Callable[[Path], None], where: str, repository: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "new", OWLS)
    broken = source if where == "source" else write(RAW, {"owl/0.png": b"x"})
    break_it(broken)
    assert "only plain files can be added" in (sentence := refused(source))
    assert sentence.split("Received: ")[1].startswith(f"{broken}/owl/")


def test_a_link_to_what_is_added_is_followed_since_the_user_named_it(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    write(tmp_path / "disk", OWLS)
    (tmp_path / "new").symlink_to(tmp_path / "disk")
    add_images(tmp_path / "new")
    assert read(RAW) == {**IMAGES, **OWLS}


def test_a_name_that_is_not_utf_8_is_refused(repository: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "new", OWLS)
    name = os.fsdecode(b"owl/\xff.png")
    (source / name).write_bytes(b"x")
    assert "not UTF-8" in refused(source)
    (source / name).unlink()
    write(RAW, {name: b"x"})  # copied by hand, beside what is tracked
    assert "not UTF-8" in refused(source)


def test_the_reason_of_a_dvc_that_fails_is_named(repository: Path, tmp_path: Path) -> None:
    run("git", "add", "--force", f"{RAW}/cat/1.png")  # DVC tracks no file that git tracks
    with pytest.raises(UserError, match=r"`dvc add data/raw`\. Received: DVC: .*tracked by SCM"):
        add_images(write(tmp_path / "new", OWLS))


@pytest.mark.parametrize("name", ["cat", "cat/1.png/deeper.png"])
def test_a_file_does_not_take_the_place_of_a_folder_nor_the_other_way_round(
    name: str, repository: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "new", {name: b"x"})
    assert "rename" in refused(source, replace_others=True)


def test_hidden_files_are_left_out_and_reported(
    repository: Path,
    tmp_path: Path,
    untracked: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_images(write(tmp_path / "new", {**OWLS, "owl/.DS_Store": b"x", ".git/config": b"x"}))
    assert read(RAW) == {**IMAGES, **OWLS}
    assert "2 hidden files left out: .git/config, owl/.DS_Store" in capsys.readouterr().out


def test_names_that_differ_in_case_only_are_reported(
    repository: Path,
    tmp_path: Path,
    untracked: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_images(write(tmp_path / "new", {"CAT/1.png": b"x"}))
    assert "CAT/1.png and cat/1.png" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["data/raw", "data/raw/cat", ".", ".."])
def test_data_raw_is_not_added_to_itself(path: str, repository: Path) -> None:
    assert "dvc add data/raw" in refused(Path(path))


def test_what_is_not_there_or_empty_is_one_sentence(repository: Path, tmp_path: Path) -> None:
    assert "no such" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no file to add" in refused(tmp_path / "empty")
    assert "no such" in refused(Path("/dev/null"))


def test_an_archive_that_climbs_out_changes_nothing_anywhere(
    repository: Path, tmp_path: Path
) -> None:
    write(tmp_path / "new", {"x.png": b"x"})
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(tmp_path / "new/x.png", "owl/1.png")
        archive.add(tmp_path / "new/x.png", "../../../out.png")
    before = sorted(tmp_path.rglob("*"))
    assert "lead out" in refused(tmp_path / "bad.tar")
    known = [*before, repository / ".fovea", repository / ".fovea/workspace.lock"]
    assert sorted(tmp_path.rglob("*")) == sorted(known)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_refused_and_named(repository: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "new", OWLS)
    (source / "owl").chmod(0)
    try:
        assert "cannot be read" in refused(source)
    finally:
        (source / "owl").chmod(0o755)


def test_images_that_were_never_pulled_are_not_dropped_by_an_add(
    repository: Path, tmp_path: Path
) -> None:
    shutil.rmtree(RAW)
    assert "dvc pull" in refused(write(tmp_path / "new", OWLS))


def test_too_little_space_is_reported_before_anything_is_written(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "new", {"owl/1.png": bytes(1000)})
    usage = shutil.disk_usage(tmp_path)._replace(free=data_add.RESERVE + 1999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "2,000 bytes are needed" in refused(source)
    shutil.make_archive(str(tmp_path / "a"), "zip", source)
    assert "2,000 bytes are needed" in refused(tmp_path / "a.zip")


def test_a_disk_that_is_full_after_all_leaves_the_old_images(
    repository: Path, tmp_path: Path
) -> None:
    """A real limit on the size of a file stands for the disk: the write fails half-way."""
    source = write(tmp_path / "new", {"owl/1.png": b"x", "owl/2.png": bytes(10**6)})
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
        f"import sys; sys.argv = ['fovea', 'data', 'add', {str(source)!r}]; "
        "from pipelines.commands.fovea import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {source} was not added; fix this error and try again: File too large"
    )
    assert done.stderr.count("\n") == 1
    assert read(RAW) == IMAGES
    assert list(Path("data").glob(".*.part")) == []


def test_a_source_that_changes_while_it_is_copied_is_found(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = data_add._copy

    def copy_late(source: Path, target: Path) -> None:
        source.write_bytes(b"changed")
        copy(source, target)

    monkeypatch.setattr(data_add, "_copy", copy_late)
    assert "a copy differs from its source" in refused(write(tmp_path / "new", OWLS))


def start(source: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.commands.fovea", "data", "add", str(source)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def kill(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_a_kill_leaves_the_old_images_or_the_new_and_the_next_add_tidies_up(
    delay_s: float, repository: Path, tmp_path: Path
) -> None:
    owls = {f"owl/{n}.png": os.urandom(2000) for n in range(300)}
    source = write(tmp_path / "new", owls)
    process = start(source)
    while process.poll() is None and not list(Path("data").glob(".raw.*.part")):
        time.sleep(0.005)
    time.sleep(delay_s)
    kill(process)
    if RAW.is_dir():
        assert read(RAW) in (IMAGES, {**IMAGES, **owls})
    add_images(source)
    assert read(RAW) == {**IMAGES, **owls}
    assert sorted(dvc_files.recorded_files(RAW) or ()) == sorted({**IMAGES, **owls})
    assert list(Path("data").glob(".*.part")) == []


def test_a_kill_between_the_two_renames_is_repaired_by_the_next_add(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    RAW.rename(f"data/.raw.{dead.pid}.old.part")
    write(Path(f"data/.raw.{dead.pid}.part"), {**IMAGES, **OWLS})
    add_images(write(tmp_path / "new", OWLS))
    assert read(RAW) == {**IMAGES, **OWLS}
    assert list(Path("data").glob(".*.part")) == []


def test_it_waits_for_a_run_that_holds_the_workspace(repository: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "new", OWLS)
    with locks.hold(Path(), "a long run", print):
        process = start(source)
        assert process.stdout is not None
        assert "held by `a long run`" in process.stdout.readline()
        assert read(RAW) == IMAGES
    assert process.wait() == 0
    process.stdout.close()
    assert read(RAW) == {**IMAGES, **OWLS}


def test_with_hard_links_as_dvc_cache_the_cache_keeps_its_content(
    repository: Path, tmp_path: Path
) -> None:
    dvc("config", "cache.type", "hardlink")
    dvc("checkout", "--quiet", "--relink")
    source = write(tmp_path / "new", OWLS)
    add_images(source)
    (source / "owl/1.png").write_bytes(b"edited")
    add_images(write(tmp_path / "other", {"cat/1.png": b"replaced"}), replace_others=True)
    for name in (dvc_files.recorded_files(RAW) or {}).values():
        assert dvc_files.read_object(name) is not None
    run("git", "stash", "--quiet")
    dvc("checkout", "--quiet", "--force")
    assert read(RAW) == IMAGES


def test_images_that_dvc_links_into_its_cache_stay_and_new_ones_come_in(
    repository: Path, tmp_path: Path
) -> None:
    dvc("config", "cache.type", "symlink")
    dvc("checkout", "--quiet", "--relink")
    write(tmp_path / "new", {**OWLS, "cat/1.png": b"a new cat"})
    add_images(tmp_path / "new", replace_others=True)
    assert read(RAW) == {**IMAGES, **OWLS, "cat/1.png": b"a new cat"}
    assert all((RAW / name).is_symlink() for name in (*IMAGES, *OWLS))
    assert dvc_files.recorded_files(RAW) == {
        name: hashlib.md5(content).hexdigest() for name, content in read(RAW).items()
    }
    (RAW / "cat/0.png").unlink()
    (RAW / "cat/0.png").symlink_to(tmp_path / "new/cat/1.png")
    with pytest.raises(UserError, match="dvc checkout --relink"):
        add_images(tmp_path / "new")


def test_folders_keep_their_rights_and_empty_ones_stay(
    repository: Path, tmp_path: Path, untracked: list[Path]
) -> None:
    (RAW / "soon").mkdir()
    (RAW / "cat").chmod(0o2775)
    add_images(write(tmp_path / "new", OWLS))
    assert (RAW / "soon").is_dir()
    assert (RAW / "cat").stat().st_mode & 0o7777 == 0o2775


def test_outside_of_a_root_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "new", OWLS)
    with pytest.raises(UserError, match="repository's root"):
        add_images(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_data_raw_that_is_a_link_is_refused(repository: Path, tmp_path: Path) -> None:
    RAW.rename(tmp_path / "elsewhere")
    RAW.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link or a mount"):
        add_images(write(tmp_path / "new", OWLS))
    assert read(tmp_path / "elsewhere") == IMAGES
