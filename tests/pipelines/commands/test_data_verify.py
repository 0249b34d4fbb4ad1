"""Bytes flipped in DVC's cache and in the workspace → found, named, healed; edits stay (D7)."""

import os
import shutil
from pathlib import Path

import pytest

from components.errors import UserError
from components.sources.dvc_cache import cache_folder
from pipelines.artifacts import MANIFEST, RAW, STATE
from pipelines.commands.data_verify import verify_data
from pipelines.workspace import dvc_files, healing
from tests.pipelines.versioned import (
    IMAGES,
    commit,
    dvc,
    dvc_prints,
    flip,
    ingest,
    make_repository,
    read,
    write,
)

CAT, DOG = RAW / "cat/1.png", RAW / "dog/2.png"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with images, a manifest, and a remote that has everything; to be copied."""
    folder, here = tmp_path_factory.mktemp("verify"), Path.cwd()
    make_repository(folder / "repository")
    write(RAW, {**IMAGES, "cat/copy of 1.png": IMAGES["cat/1.png"]})
    dvc("add", "--quiet", str(RAW))
    ingest()
    dvc("remote", "add", "--quiet", "--default", "backup", "../../remote")  # beside the copies
    commit("first images")
    os.chdir(here)
    return folder / "repository"


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it whose files DVC has seen, as after a run."""
    shutil.copytree(template, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(tmp_path / "repository")
    dvc("status", "--quiet")
    return tmp_path / "repository"


@pytest.fixture
def remote(repository: Path) -> Path:
    dvc("config", "--local", "remote.backup.url", "../remote")
    dvc("push", "--quiet")
    return repository.parent / "remote"


def cached(path: Path) -> Path:
    """Return the object of the cache that stands for a file in data/raw."""
    recorded = dvc_files.recorded_files(RAW)
    assert recorded is not None
    return dvc_files.object_path(recorded[path.relative_to(RAW).as_posix()])


def everything() -> dict[str, bytes]:
    return {**read(RAW), **read(Path(".dvc/cache"))}


def test_what_is_as_recorded_passes(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_data(heal=False)
    assert "every byte is as DVC recorded it" in capsys.readouterr().out


def test_damage_in_the_cache_is_named_with_every_path_and_left_alone(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(cached(CAT))
    before = everything()
    assert not verify_data(heal=False)
    out = capsys.readouterr().out
    assert "damaged in DVC's cache: data/raw/cat/1.png, data/raw/cat/copy of 1.png\n" in out
    assert "fovea data verify --heal" in out
    assert everything() == before


def test_damage_in_the_cache_is_healed_from_the_workspace(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = everything()
    flip(cached(CAT))
    assert verify_data(heal=True)
    assert (
        "repaired in DVC's cache, from the workspace: data/raw/cat/1.png" in capsys.readouterr().out
    )
    assert everything() == intact
    assert cached(CAT).stat().st_mode & 0o777 == 0o444
    assert verify_data(heal=False)


@pytest.mark.slow
def test_damage_in_both_is_healed_from_the_remote(
    remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = everything()
    for path in (cached(DOG), DOG):
        flip(path)
    assert not verify_data(heal=False)
    assert everything() != intact
    assert verify_data(heal=True)
    out = capsys.readouterr().out
    assert "repaired in DVC's cache, from the remote: data/raw/dog/2.png" in out
    assert "restored from DVC's cache: data/raw/dog/2.png" in out
    assert everything() == intact
    assert verify_data(heal=False)
    assert dvc_prints("status", "--quiet") == ""


def test_damage_in_the_workspace_is_found_though_dvc_sees_nothing_and_is_brought_back(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = everything()
    flip(DOG)
    assert dvc_prints("data", "status", "--json") == "{}"
    assert not verify_data(heal=False)
    assert "damaged in the workspace" in capsys.readouterr().out
    assert verify_data(heal=True)
    assert "restored from DVC's cache: data/raw/dog/2.png" in capsys.readouterr().out
    assert everything() == intact


def test_an_edit_is_named_and_never_overwritten(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DOG.write_bytes(b"x" * len(IMAGES["dog/2.png"]))  # of the same size
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert "changed since DVC recorded it: data/raw/dog/2.png" in out
    assert "dvc checkout --force data/raw.dvc" in out
    assert DOG.read_bytes() == b"x" * len(IMAGES["dog/2.png"])


def test_what_dvc_has_no_memory_of_is_never_overwritten_either(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "fresh"))
    flip(DOG)
    before = DOG.read_bytes()
    assert not verify_data(heal=True)
    assert DOG.read_bytes() == before


def test_an_edit_does_not_heal_the_cache_with_its_content(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DOG.write_bytes(b"edited")
    flip(cached(DOG))
    bad = cached(DOG).read_bytes()
    assert not verify_data(heal=True)
    assert cached(DOG).read_bytes() == bad
    assert "no intact copy" in capsys.readouterr().out
    assert list((STATE / "damaged").iterdir()) == []


def test_what_no_one_has_any_more_stays_as_it_is_and_named(
    remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (cached(DOG), DOG):
        flip(path)
    flip(remote / "files/md5" / cached(DOG).parent.name / cached(DOG).name)
    before = everything()
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert "no intact copy, neither here nor in the remote" in out
    assert "fovea data add PATH --replace" in out
    assert everything() == before


def test_a_remote_that_does_not_answer_is_no_remote_without_a_copy(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dvc("config", "--local", "remote.backup.url", "http://127.0.0.1:9/fovea")
    for path in (cached(DOG), DOG, CAT):
        flip(path)
    before = cached(DOG).read_bytes()
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert "there is no intact copy here of: data/raw/dog/2.png; run `fovea data verify" in out
    assert "error: the DVC remote cannot be used (" in out
    assert "data add PATH --replace" not in out
    assert (cached(DOG).read_bytes(), CAT.read_bytes()) == (before, IMAGES["cat/1.png"])


def test_a_missing_object_is_healed_and_a_missing_file_is_reported(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached(CAT).unlink()
    DOG.unlink()
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert "not in DVC's cache: data/raw/cat/1.png" in out
    assert "missing in the workspace, or not readable: data/raw/dog/2.png" in out
    assert cached(CAT).read_bytes() == IMAGES["cat/1.png"]
    assert not DOG.exists()  # removing an image is no damage


@pytest.mark.parametrize("source", ["workspace", "remote"])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_listing_is_named_and_rebuilt_or_fetched(
    source: str, damage: str, remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = everything()
    listing = dvc_files.object_path(str(dvc_files.listing_name(RAW)))
    if damage == "flipped":
        flip(listing)
    else:
        listing.unlink()
    if source == "remote":
        DOG.rename(RAW / "dog/renamed.png")
    assert not verify_data(heal=False)
    assert f"DVC's cache: {RAW}" in capsys.readouterr().out
    assert verify_data(heal=True) == (source == "workspace")
    assert f"from the {source}: data/raw\n" in capsys.readouterr().out
    assert listing.read_bytes() == intact[listing.relative_to(".dvc/cache").as_posix()]


def test_results_of_stages_are_looked_at_too(
    remote: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = dvc_files.outs_in_lock(Path("dvc.lock").read_text())[str(MANIFEST)]
    intact = MANIFEST.read_bytes()
    flip(MANIFEST)
    flip(dvc_files.object_path(name))
    assert not verify_data(heal=False)
    assert f"damaged in DVC's cache: {MANIFEST}" in capsys.readouterr().out
    assert verify_data(heal=True)
    assert MANIFEST.read_bytes() == intact == dvc_files.read_object(name)


def test_with_hard_links_both_are_healed(remote: Path) -> None:
    dvc("config", "--local", "cache.type", "hardlink")
    dvc("checkout", "--quiet", "--relink")
    assert CAT.samefile(cached(CAT))
    dvc("status", "--quiet")
    intact = everything()
    flip(CAT)
    assert cached(CAT).read_bytes() != IMAGES["cat/1.png"]
    assert verify_data(heal=True)
    assert everything() == intact


def test_a_healing_that_was_killed_is_undone_by_the_next(repository: Path) -> None:
    flip(cached(DOG))
    bad = cached(DOG).read_bytes()
    healing.ASIDE.mkdir(parents=True)
    shutil.move(cached(DOG), healing.ASIDE / f"{cached(DOG).parent.name}{cached(DOG).name}")
    left = [Path("data/.healed.1.part"), Path(".dvc/cache/.healed.1.part")]
    for path in left:
        path.write_bytes(b"torn")
    assert not verify_data(heal=False)
    assert cached(DOG).read_bytes() == bad
    assert [path for path in left if path.exists()] == []


def test_a_listing_that_no_one_has_any_more_stays_named(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(dvc_files.object_path(str(dvc_files.listing_name(RAW))))
    write(RAW, {"dog/new.png": b"new"})
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert "damaged in DVC's cache: data/raw\n" in out
    assert "no intact copy, neither here nor in the remote, of: data/raw;" in out


@pytest.mark.parametrize("how", ["closed", "loop"])
def test_a_file_that_cannot_be_read_heals_nothing_and_stays_named(
    how: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(cached(DOG))
    bad = cached(DOG).read_bytes()
    if how == "closed":
        if os.geteuid() == 0:
            pytest.skip("root reads every file")
        DOG.chmod(0)
    else:  # not readable, not even for root
        DOG.unlink()
        DOG.symlink_to(DOG.name)
    assert not verify_data(heal=True)
    out = capsys.readouterr().out
    assert f"missing in the workspace, or not readable: {DOG}" in out
    assert "no intact copy, neither here nor in the remote" in out
    assert cached(DOG).read_bytes() == bad


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence_and_leaves_everything_as_it_was(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(cached(DOG))
    before = everything()
    part = cache_folder() / f".healed.{os.getpid()}.part"
    monkeypatch.setattr(healing, "undo_unfinished", lambda: part.symlink_to("/dev/full"))
    with pytest.raises(UserError, match=r"the repair has stopped.*Received: No space left"):
        verify_data(heal=True)
    assert everything() == before


def test_without_tracked_images_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match=r"does not track data/raw.*Received: no data/raw\.dvc"):
        verify_data(heal=False)


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_files_that_dvc_links_into_its_cache_are_as_it_recorded_them(
    kind: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dvc("config", "--local", "cache.type", kind)
    dvc("checkout", "--quiet", "--relink")
    assert CAT.is_symlink() == (kind == "symlink")
    assert verify_data(heal=False)
    assert "every byte is as DVC recorded it" in capsys.readouterr().out


def test_a_link_to_another_place_is_named_and_dvc_replaces_it(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CAT.rename(tmp_path / "cat.png")
    CAT.symlink_to(tmp_path / "cat.png")  # DVC sees no change, because the bytes are the same
    assert not verify_data(heal=False)
    shown = capsys.readouterr().out
    assert f"a link that does not lead into DVC's cache: {CAT}" in shown
    assert "dvc checkout --relink data/raw.dvc" in shown
    dvc("checkout", "--quiet", "--relink", "data/raw.dvc")
    assert not CAT.is_symlink()
    assert verify_data(heal=False)
