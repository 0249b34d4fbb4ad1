"""What DVC recorded, read without DVC → the same as DVC itself says."""

import hashlib
import json
from pathlib import Path

import pytest

from components.errors import UserError
from components.sources.dvc_cache import cache_folder
from pipelines.artifacts import RAW
from pipelines.workspace import dvc_files
from tests.pipelines.versioned import IMAGES, dvc, dvc_prints, make_repository, read, write


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_repository(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository"


def md5s(folder: Path) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in read(folder).items()}


def test_every_file_is_recorded_with_its_md5_under_odd_names_too(repository: Path) -> None:
    odd = {"cat/ü b.png": b"1", "猫/line\nbreak.png": b"2", "-rf/1.png": b"3", "cat/a/b.png": b"4"}
    write(RAW, {**IMAGES, **odd})
    dvc("add", "--quiet", str(RAW))
    assert dvc_files.recorded_files(RAW) == md5s(RAW)
    name = dvc_files.listing_name(RAW)
    assert name is not None
    assert dvc_files.listing_bytes(md5s(RAW)) == dvc_files.object_path(name).read_bytes()


def test_untracked_is_none() -> None:
    write(RAW, IMAGES)
    assert dvc_files.recorded_files(RAW) is None


def test_what_is_edited_later_does_not_change_what_is_recorded() -> None:
    write(RAW, IMAGES)
    before = md5s(RAW)
    dvc("add", "--quiet", str(RAW))
    (RAW / "cat/1.png").write_bytes(b"edited")
    assert dvc_files.recorded_files(RAW) == before


@pytest.mark.parametrize("text", ["outs:\n- md5: abc", "outs: 3", "\x00", "- [", "outs: []"])
def test_a_torn_or_foreign_dvc_file_is_one_sentence(text: str) -> None:
    write(Path("data"), {"raw.dvc": text.encode()})
    with pytest.raises(
        UserError, match=r"raw\.dvc must name a folder in the format of DVC 3.*Received"
    ):
        dvc_files.recorded_files(RAW)


def test_a_dvc_file_that_a_killed_dvc_left_empty_stops_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(Path("data"), {"raw.dvc": b""})
    assert dvc_files.recorded_files(RAW) is None
    assert "git checkout data/raw.dvc" in capsys.readouterr().out


def test_a_file_of_dvc_2_is_not_taken_for_one_of_dvc_3() -> None:
    text = "outs:\n- md5: 00000000000000000000000000000000.dir\n  path: raw\n"
    assert dvc_files.listing_name_in(text) is None
    assert dvc_files.listing_name_in(f"{text}  hash: md5\n") == f"{'0' * 32}.dir"


def test_without_a_listing_nothing_is_held_against_it_and_a_line_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(RAW, IMAGES)
    dvc("add", "--quiet", str(RAW))
    next(Path(".dvc/cache").rglob("*.dir")).unlink()
    assert dvc_files.recorded_files(RAW) is None
    assert "does not have the list of files in data/raw" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_listing_that_is_damaged_is_named(damage: str) -> None:
    write(RAW, IMAGES)
    dvc("add", "--quiet", str(RAW))
    listing = next(Path(".dvc/cache").rglob("*.dir"))
    listing.chmod(0o644)
    if damage == "cut":
        listing.write_bytes(listing.read_bytes()[:100])
    else:
        entries = json.loads(listing.read_bytes())
        entries[0]["md5"] = "0" * 32
        listing.write_text(json.dumps(entries))
    with pytest.raises(UserError, match=f"in DVC's cache is damaged.*--heal.*{listing.name}"):
        dvc_files.recorded_files(RAW)


def cache_dir_of_dvc() -> Path:
    return Path(dvc_prints("cache", "dir")).resolve()


def test_the_cache_is_where_dvc_says_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    places = [cache_folder()]
    assert places[0].resolve() == cache_dir_of_dvc() == repository / ".dvc/cache"
    for number, options in enumerate((["--system"], ["--global"], [], ["--local"])):
        dvc("cache", "dir", *options, f"../cache {number}")
        places.append(cache_folder())
        assert places[-1].resolve() == cache_dir_of_dvc(), options
    assert len(set(places)) == 5
    for far in (tmp_path / "far", tmp_path / "we?ird %41 #1 'quoted\""):
        dvc("config", "--local", "cache.dir", str(far))
        assert cache_folder() == cache_dir_of_dvc() == far


def test_a_config_with_comments_quotes_remotes_and_home_is_read_as_dvc_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Path(".dvc/config").write_text(
        "# ours\n[core]\n    remote = b\n['remote \"b\"']\n    url = s3://x/%y\n"
        '[cache]\n    type = "reflink,copy"\n    dir = "~/the cache" # big disk\n'
    )
    assert cache_folder() == cache_dir_of_dvc() == tmp_path / "the cache"


def test_a_torn_config_is_as_none() -> None:
    Path(".dvc/config.local").write_bytes(b"[cac\xff\n = =")
    assert cache_folder() == Path(".dvc/cache")


def test_it_is_read_while_dvc_runs_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    write(RAW, IMAGES)
    dvc("add", "--quiet", str(RAW))
    code = (
        "from pathlib import Path; from pipelines.workspace.dvc_files import recorded_files; "
        "Path('out').write_text(str(len(recorded_files(Path('data/raw')))))"
    )
    Path("ask.py").write_text(code)
    Path("dvc.yaml").write_text(
        "stages:\n  ask:\n    cmd: PYTHONPATH=$ROOT python ask.py\n    deps: [data/raw]\n"
        "    outs: [out]\n"
    )
    monkeypatch.setenv("ROOT", str(Path(__file__).parents[3]))
    dvc("repro", "--quiet")
    assert Path("out").read_text() == str(len(IMAGES))


LOCK = """
stages:
  ingest:
    deps:
    - path: data/raw
      md5: 1.dir
    outs:
    - path: manifest
      md5: '22'
  prepare:
    deps:
    - path: data/raw
      md5: 0.dir
    outs:
    - path: not cached
"""


def test_what_a_stage_read_and_what_all_wrote_is_in_dvc_lock() -> None:
    assert dvc_files.outs_in_lock(LOCK) == {"manifest": "22"}
    assert dvc_files.stage_files(LOCK, "ingest", "deps") == {"data/raw": "1.dir"}
    assert dvc_files.stage_files(LOCK, "prepare", "deps") == {"data/raw": "0.dir"}


@pytest.mark.parametrize(
    "torn", ["", "stages: 3", "stages:\n  a: 4", "stages:\n  a:\n    outs: [1", "a: [}"]
)
def test_a_torn_dvc_lock_names_nothing(torn: str) -> None:
    assert dvc_files.outs_in_lock(torn) == dvc_files.stage_files(torn, "a", "outs") == {}
