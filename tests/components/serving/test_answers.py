"""Rows of many images are in a file as they come, and few of them in memory."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.serving import Prediction, answers
from components.serving.answers import row, rows_to_file


def test_a_parquet_file_is_written_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "GROUP", 2)
    file = tmp_path / "a.parquet"
    with rows_to_file(file, "parquet", top=1) as write:
        for number in range(5):
            write(row(f"{number}.png", Prediction("cat", 0.5, (("cat", 0.5),))))
    written = pq.ParquetFile(file)
    assert [written.metadata.row_group(n).num_rows for n in range(3)] == [2, 2, 1]
    assert written.read()["path"].to_pylist() == [f"{number}.png" for number in range(5)]
