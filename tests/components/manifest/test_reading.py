"""What is known is not read again, and a manifest shows nothing of it."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grimp
import numpy as np
import pandas as pd
import pytest

from components import parallel
from components.errors import UserError
from components.manifest import reading, rows
from components.manifest.cache import open_cache
from components.manifest.table import CACHE, build_manifest
from components.params.ingest import Ingest
from components.params.reader import Params
from components.sources.source import open_source
from tests.cards import DIGITS

ROOT = Path(__file__).parents[3]
IngestCounts = Callable[..., tuple[int, int]]


@pytest.fixture
def ingest(params: Params) -> Ingest:
    return params.ingest


@pytest.fixture
def raw(digits_folder: Path, tmp_path: Path) -> Path:
    """200 digits and some faults, all written a while ago."""
    raw = Path(shutil.copytree(digits_folder, tmp_path / "raw"))
    (raw / "3/empty.png").touch()
    (raw / "4/page.png").write_text("<html>")
    settle()
    return raw


@pytest.fixture
def ingest_counts(
    raw: Path, ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> IngestCounts:
    """A function that ingests, requires the manifest of a run without memory, and returns how many
    images were read and how many were known."""

    def run(params: Ingest = ingest, root: Path = raw) -> tuple[int, int]:
        saved(build_manifest(root, params), tmp_path / "without.parquet")
        capsys.readouterr()
        saved(build_manifest(root, params, tmp_path / "state"), tmp_path / "with.parquet")
        without, by_memory = ((tmp_path / f"{name}.parquet") for name in ("without", "with"))
        assert without.read_bytes() == by_memory.read_bytes()
        printed = capsys.readouterr().out
        words = next(line for line in printed.splitlines() if " to read, " in line).split()
        return int(words[0].replace(",", "")), int(words[4].replace(",", ""))

    return run


def saved(manifest: pd.DataFrame, path: Path) -> None:
    manifest.to_parquet(path, index=False)


def settle() -> None:
    """Let the files become older than a moment, so that they are remembered."""
    time.sleep(2 * reading.SETTLED_NS / 1e9)


def first(raw: Path, label: str) -> Path:
    return min((raw / label).iterdir())


def test_a_second_time_nothing_is_read(ingest_counts: IngestCounts) -> None:
    assert ingest_counts() == (202, 0)
    assert ingest_counts() == (0, 202)


def test_what_has_just_been_written_is_read_the_next_time_too(
    raw: Path, ingest_counts: IngestCounts
) -> None:
    ingest_counts()
    for number in range(20):
        shutil.copy(first(raw, "1"), raw / f"1/new{number}.png")
    read, known = ingest_counts()
    assert (read, known) == (20, 202)
    assert ingest_counts()[0] <= 20


def test_only_new_and_changed_files_are_read(raw: Path, ingest_counts: IngestCounts) -> None:
    ingest_counts()
    first(raw, "0").rename(raw / "0/renamed.png")
    first(raw, "1").unlink()
    first(raw, "2").write_bytes(first(raw, "5").read_bytes())
    shutil.copy(first(raw, "6"), raw / "7/copy.png")
    settle()
    assert ingest_counts() == (3, 199)
    assert ingest_counts() == (0, 202)


def test_a_change_that_keeps_the_size_is_seen(raw: Path, ingest_counts: IngestCounts) -> None:
    ingest_counts()
    path = first(raw, "8")
    data, before = bytearray(path.read_bytes()), path.stat()
    data[-20] ^= 1
    path.write_bytes(data)
    after = path.stat()
    assert (after.st_size, after.st_ino) == (before.st_size, before.st_ino)
    settle()
    assert ingest_counts() == (1, 201)


def test_the_same_files_linked_into_another_tree_are_known(
    raw: Path, ingest_counts: IngestCounts
) -> None:
    ingest_counts()
    shutil.copytree(raw, raw.with_name("linked"), copy_function=os.link)
    shutil.rmtree(raw)
    raw.with_name("linked").rename(raw)
    settle()
    assert ingest_counts() == (0, 202)


def test_any_number_of_cores_gives_the_same_manifest(
    raw: Path, ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "START_S", 0)
    for cores in (1, 2):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        saved(build_manifest(raw, ingest), tmp_path / f"{cores}.parquet")
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_another_file_in_its_place_is_seen(raw: Path, ingest_counts: IngestCounts) -> None:
    ingest_counts()
    shutil.copy2(first(raw, "8"), raw / "8/other")
    settle()
    (raw / "8/other").replace(first(raw, "8"))
    settle()
    assert ingest_counts() == (1, 201)


def test_a_link_in_place_of_a_known_folder_is_a_fault_again(
    raw: Path, ingest: Ingest, tmp_path: Path
) -> None:
    names = [f"images/{number}.png" for number in range(4)]
    (tmp_path / "table/images").mkdir(parents=True)
    for number, name in enumerate(names):
        shutil.copy(first(raw, str(number)), tmp_path / "table" / name)
    lines = [f"{name},{'cat' if '1' in name else 'dog'}" for name in names]
    (tmp_path / "table/labels.csv").write_text("\n".join(["path,label", *lines]))
    settle()
    state = tmp_path / "state"
    assert build_manifest(tmp_path / "table", ingest, state)["fault"].isna().all()
    (tmp_path / "table/images").rename(tmp_path / "outside")
    (tmp_path / "table/images").symlink_to(tmp_path / "outside", target_is_directory=True)
    again = build_manifest(tmp_path / "table", ingest, state)
    assert set(again["fault"]) == {"symlink"}


def test_other_rules_of_the_decoder_read_everything(
    ingest_counts: IngestCounts, ingest: Ingest
) -> None:
    ingest_counts()
    decode = ingest.decode.model_copy(update={"grey": "refuse"})
    assert ingest_counts(ingest.model_copy(update={"decode": decode})) == (202, 0)


def test_new_labels_read_nothing(
    raw: Path, ingest_counts: IngestCounts, ingest: Ingest, tmp_path: Path
) -> None:
    root = tmp_path / "table"
    shutil.copytree(raw, root / "images")
    paths = [str(path.relative_to(root)) for path in root.rglob("*.png")]
    set_to = ingest.source.model_copy(update={"kind": "table"})
    tabled = ingest.model_copy(update={"source": set_to})
    settle()
    for swap, expected in ((0, (202, 0)), (1, (0, 202))):
        lines = [f"{path},{'ab'[(n + swap) % 2]},{n}" for n, path in enumerate(paths)]
        (root / "labels.csv").write_text("\n".join(["path,label,number", *lines]))
        assert ingest_counts(tabled, root) == expected


def test_an_array_file_is_known_as_a_whole(
    ingest_counts: IngestCounts, ingest: Ingest, tmp_path: Path
) -> None:
    root = tmp_path / "arrays"
    root.mkdir()
    for seed in (1, 2):
        pictures = np.random.default_rng(seed).integers(0, 256, (30, 9, 9), dtype=np.uint8)
        np.savez(root / "data.npz", x=pictures, y=np.arange(30) % 3)
        settle()
        assert ingest_counts(ingest, root) == (30, 0)
        assert ingest_counts(ingest, root) == (0, 30)


def test_a_file_that_vanishes_after_it_was_listed_is_missing(raw: Path, ingest: Ingest) -> None:
    listing = open_source(raw, ingest.source)
    shutil.rmtree(raw / "5")
    gone = first(raw, "6").relative_to(raw).as_posix()
    (raw / gone).unlink()
    with open_cache(None, "", reading.SCHEMA) as cache:
        table = reading.read_pictures(raw, listing, ingest.decode, cache, raw).to_pandas()
    missing = set(table.loc[table["fault"] == "missing", "path"])
    assert missing == {gone} | {e.path for e in listing.entries if e.label == "5"}


def test_the_recipe_of_rows_names_every_module_that_makes_them() -> None:
    imports = grimp.build_graph("components", cache_dir=None)
    makers = {"components.manifest.rows", "components.sources.arrays"}
    for maker in tuple(makers):
        makers |= imports.find_upstream_modules(maker)
    start = "components."
    below = {name[len(start) :].replace(".", "/") for name in makers if name.startswith(start)}
    packages = {name.partition("/")[0] for name in below}
    # These list and open files; what they hand on is the bytes. The rules are in it as values.
    others = {
        "sources/dvc_cache",
        "sources/listing",
        "sources/tree",
        "params/ingest",
        "params/section",
        "params/split",
        "files",
    }
    assert below - packages - others == set(rows.MODULES)


def test_the_recipe_changes_with_the_rules_alone(ingest: Ingest) -> None:
    recipe = rows.recipe(ingest.decode)
    assert recipe == rows.recipe(ingest.decode.model_copy())
    assert recipe != rows.recipe(ingest.decode.model_copy(update={"max_pixels": 7}))


def test_a_killed_run_goes_on_where_it_was(
    digits_folder: Path, ingest: Ingest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, state = tmp_path / "raw", tmp_path / "state"
    digits = [path for label in "01" for path in sorted((digits_folder / label).iterdir())]
    for label in ("0", "1"):
        (raw / label).mkdir(parents=True)
        for number in range(1500):
            os.link(digits[number % len(digits)], raw / label / f"{number}.png")
    settle()
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; "
        "from components.params.reader import read_params; "
        "from components.manifest.table import CACHE, build_manifest; "
        f"p = read_params(Path({str(DIGITS)!r})).ingest; "
        f"build_manifest(Path({str(raw)!r}), p, Path({str(state)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while process.poll() is None and rows_in(state / CACHE) < 1:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9, "it ended before it could be killed"
    saved(build_manifest(raw, ingest, state), tmp_path / "resumed.parquet")
    line = next(line for line in capsys.readouterr().out.splitlines() if " to read, " in line)
    assert int(line.split()[4].replace(",", "")) >= 1000
    saved(build_manifest(raw, ingest), tmp_path / "whole.parquet")
    resumed, whole = (tmp_path / f"{name}.parquet" for name in ("resumed", "whole"))
    assert resumed.read_bytes() == whole.read_bytes()


def rows_in(cache: Path) -> int:
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as file:
            (table,) = file.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchone()
            return int(file.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])
    except (sqlite3.Error, TypeError):  # no file yet, or no table
        return 0


def test_bytes_that_are_not_as_recorded_are_named(
    raw: Path, ingest: Ingest, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    paths = sorted(path for path in raw.rglob("*.png"))
    recorded = {
        path.relative_to(raw).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in paths
    }
    build_manifest(raw, ingest, state, recorded)
    for path in paths[:5]:
        data = bytearray(path.read_bytes())
        data[-1:] = b"?"
        path.write_bytes(data)
    (raw / "0/new.png").write_bytes(
        paths[9].read_bytes()
    )  # not recorded, as .dvcignore may have it
    del recorded["4/page.png"]
    names = [path.relative_to(raw).as_posix() for path in paths[:3]]
    for _ in range(2):  # read, and known
        settle()
        with pytest.raises(UserError) as caught:
            build_manifest(raw, ingest, state, recorded)
        assert str(caught.value).startswith("the content of 5 files in ")
        assert str(caught.value).endswith(f"Received: {', '.join(names)}, …")
        assert "`fovea data verify --heal`" in str(caught.value)


def test_an_array_file_that_is_not_as_recorded_is_named_once(
    ingest: Ingest, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((9, 9, 9), np.uint8), y=np.arange(9) % 3)
    with pytest.raises(UserError, match=r"^the content of 1 file in .*Received: data\.npz$"):
        build_manifest(tmp_path, ingest, None, {"data.npz": "0" * 32})
