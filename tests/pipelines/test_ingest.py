"""The stage `ingest`, on real files in a folder of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.errors import UserError
from components.params.reader import Params
from pipelines import artifacts, ingest
from pipelines.commands.data_add import add_images
from tests.cards import DIGITS
from tests.pipelines.stages import ROOT, workspace
from tests.pipelines.versioned import make_repository


def test_ingest_writes_one_row_per_image(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    (artifacts.RAW / "3/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ingest.run(params.ingest)
    manifest = pd.read_parquet(artifacts.MANIFEST)
    assert len(manifest) == 201
    assert manifest["path"].is_monotonic_increasing
    assert manifest.loc[manifest["fault"].notna(), "path"].tolist() == ["3/cut.png"]


def microscope(root: Path, bits: int = 12) -> None:
    """Write TIFFs of 16 bits per channel, of which only the lower bits are used."""
    chance = np.random.default_rng(0)
    for name in ("cell", "debris"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            values = chance.integers(0, 2**bits, (24, 24), dtype=np.uint16)
            Image.fromarray(values).save(root / name / f"{number}.tif")


def test_unused_bits_are_a_warning_with_the_window_to_set(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    microscope(artifacts.RAW)
    ingest.run(params.ingest)
    said = capsys.readouterr()
    warned = re.search(r"the values of 10 images of 16 bits are .*", said.out + said.err)
    assert warned
    assert "(12 bits), so `high_byte` leaves 16 of 256 levels; set" in warned[0]
    advised = re.search(r"{ window: { low: (\d+), high: (\d+) } }", warned[0])
    assert advised
    low, high = map(int, advised.groups())
    assert 0 <= low < 20
    assert 4070 < high <= 4095
    dark = pd.read_parquet(artifacts.MANIFEST)

    # Another setting gives other pixels, so no row of the cache is used.
    time.sleep(0.1)
    ingest.run(params.ingest)
    decode = params.ingest.decode.with_sixteen_bit({"window": {"low": low, "high": high}})
    ingest.run(params.ingest.model_copy(update={"decode": decode}))
    assert "leaves" not in capsys.readouterr().out.splitlines()[-1]
    bright = pd.read_parquet(artifacts.MANIFEST)
    assert (bright["brightness"] > 5 * dark["brightness"]).all()
    assert (bright["image_id"] == dark["image_id"]).all()
    assert (bright["pixels_id"] != dark["pixels_id"]).all()


def test_files_of_formats_that_are_not_read_are_logged_with_the_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    microscope(artifacts.RAW, bits=16)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    for number in range(2):
        (artifacts.RAW / f"cell/photo{number}.heic").write_bytes(heic)
    ingest.run(params.ingest)
    said = capsys.readouterr()
    assert "2 files such as cell/photo0.heic: it is a HEIC, the format of iPhones; export it" in (
        said.out + said.err
    )
    assert "leaves" not in said.out + said.err


def test_pages_that_are_not_used_are_logged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    microscope(artifacts.RAW, bits=16)
    page = Image.new("L", (20, 20))
    page.save(artifacts.RAW / "cell/stack.tif", save_all=True, append_images=[page])
    page.save(artifacts.RAW / "cell/single.tif")
    ingest.run(params.ingest)
    out = capsys.readouterr().out
    assert "1 file has several pages or frames, such as cell/stack.tif, and only the first" in out


def test_a_second_run_reads_nothing_and_writes_the_same_bytes(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    time.sleep(0.1)  # what was written a moment ago is read again
    ingest.run(params.ingest)
    first = artifacts.MANIFEST.read_bytes()
    artifacts.MANIFEST.unlink()
    capsys.readouterr()
    ingest.run(params.ingest)
    assert "0 images to read, 200 unchanged since an earlier run" in capsys.readouterr().out
    assert artifacts.MANIFEST.read_bytes() == first
    assert [path.name for path in artifacts.STATE.iterdir()] == ["known.sqlite"]


def test_after_an_addition_only_the_new_images_are_read(
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_repository(tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository")
    add_images(digits_folder)
    time.sleep(0.1)
    ingest.run(params.ingest)
    for number in range(2):
        source = max((digits_folder / str(number)).iterdir())
        (tmp_path / f"new/{number}").mkdir(parents=True)
        shutil.copy(source, tmp_path / f"new/{number}/added.png")
    add_images(tmp_path / "new")
    capsys.readouterr()
    ingest.run(params.ingest)
    assert "2 images to read, 200 unchanged since an earlier run" in capsys.readouterr().out


def flip_last_byte(path: Path) -> None:
    """Change a file but for its size."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def dvc(*arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["dvc", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return f"{done.returncode} {done.stdout}"


def test_a_file_changed_behind_dvc_s_back_is_named_and_one_that_was_meant_is_not(
    digits_folder: Path,
    tmp_path: Path,
    workspace_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    params: Params,
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    workspace_of(
        "  ingest: {cmd: python -m pipelines ingest, deps: [data/raw],"
        " outs: [data/ingest/manifest.parquet]}\n"
    )
    shutil.copy(DIGITS, tmp_path / "params.yaml")
    assert dvc("add", "-q", "data/raw").startswith("0")
    ingest.run(params.ingest)
    damaged = min((artifacts.RAW / "7").iterdir())
    flip_last_byte(damaged)
    expected = rf"^the content of 1 file in .*Received: 7/{damaged.name}$"
    with pytest.raises(UserError, match=expected):
        ingest.run(params.ingest)
    # `dvc repro` takes a change that it sees for one that was meant, and records it first.
    damaged.write_bytes(min((artifacts.RAW / "8").iterdir()).read_bytes())
    (artifacts.RAW / "7/new.png").write_bytes(max((artifacts.RAW / "7").iterdir()).read_bytes())
    printed = dvc("repro", "ingest")
    assert printed.startswith("0"), printed
    assert len(pd.read_parquet(artifacts.MANIFEST)) == 201


def test_ctrl_c_ends_at_once_and_leaves_no_half_file(digits_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data/raw"
    for label in ("0", "1"):
        (raw / label).mkdir(parents=True)
        for number in range(15_000):
            os.link(next((digits_folder / label).iterdir()), raw / label / f"{number}.png")
    code = (
        "from components.params.reader import read_params; from pathlib import Path; "
        f"from pipelines import ingest; p = read_params(Path({str(DIGITS)!r})); "
        "print('begun', flush=True); ingest.run(p.ingest)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    stderr = tmp_path / "stderr.txt"
    with (
        stderr.open("w") as errors_to,
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors_to,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        process.wait(timeout=10)
    errors = stderr.read_text()
    # Ended by the signal or by its exception, and inside of ingest.run, not before or after it.
    assert process.returncode in (-signal.SIGINT, 130), errors
    assert "KeyboardInterrupt" in errors
    assert ", in run" in errors
    assert time.monotonic() - start < 5
    assert not [path for path in (tmp_path / "data").iterdir() if path.name != "raw"]
