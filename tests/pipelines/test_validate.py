"""The stage `validate`: tables, report and docs are written before it stops."""

import json
from pathlib import Path

import pandas as pd
import pytest

from components.errors import UserError
from components.params import Params
from pipelines import artifacts
from tests.pipelines.stages import run_until, workspace


def test_the_report_is_written_before_the_stage_fails(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    for path in sorted((artifacts.RAW / "7").iterdir())[3:]:
        path.unlink()
    with pytest.raises(UserError, match=r"images_per_class.*\(7 has 3\)") as caught:
        run_until("validate", params)
    assert str(artifacts.VALIDATION_REPORT) in str(caught.value)
    report = json.loads(artifacts.VALIDATION_REPORT.read_text())
    assert report["classes"]["7"] == {"before": 3, "after": 3}
    assert "images_per_class" in (artifacts.DATA_DOCS / "index.html").read_text()


def test_accepted_and_quarantined_are_all_rows(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    workspace(digits_folder, tmp_path, monkeypatch)
    twin = next((artifacts.RAW / "1").iterdir())
    (artifacts.RAW / "2/twin.png").write_bytes(twin.read_bytes())
    (artifacts.RAW / "2/empty.png").touch()
    run_until("validate", params)
    tables = [pd.read_parquet(path) for path in (artifacts.ACCEPTED, artifacts.QUARANTINE)]
    manifest = pd.read_parquet(artifacts.MANIFEST)
    assert sorted(pd.concat(tables)["path"]) == manifest["path"].tolist()
    assert dict(tables[1][["path", "reason"]].to_numpy()) == {
        f"1/{twin.name}": "label_conflicts",
        "2/empty.png": "empty_file",
        "2/twin.png": "label_conflicts",
    }
