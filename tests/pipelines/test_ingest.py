"""The stage `ingest`, on real files in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from components.params import Params
from pipelines import artifacts, ingest
from tests.pipelines.stages import ROOT, workspace


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


def test_ctrl_c_ends_at_once_and_leaves_no_half_file(digits_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "data/raw"
    for label in ("0", "1"):
        (raw / label).mkdir(parents=True)
        for number in range(15_000):
            os.link(next((digits_folder / label).iterdir()), raw / label / f"{number}.png")
    code = (
        "from components.params import read_params; from pathlib import Path; "
        f"from pipelines import ingest; p = read_params(Path({str(ROOT / 'params.yaml')!r})); "
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
