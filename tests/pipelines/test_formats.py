"""Files that were cut off or edited → one sentence that says how to get them back."""

from pathlib import Path

import pytest

from components.errors import UserError
from pipelines.formats import read_table, read_tree


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b'{"accuracy": 0.9'),
        ("metrics.json", b""),
        ("metrics.json", b'"caf\xe9"'),
        ("hyperparameters.yaml", b"train.loss: [focal"),
        ("history.csv", b""),
        ("history.csv", b'epoch,loss\n1,"0.5\n'),
        ("rows.parquet", b"PAR1"),
    ],
)
def test_a_damaged_file_is_named_with_the_way_back(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("data/train") / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    read = read_tree if name.endswith((".json", ".yaml")) else read_table
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is damaged or was edited; `fovea data verify --h")
    assert "`dvc repro -f train` writes it again. Received: " in str(caught.value)
