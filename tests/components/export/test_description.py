"""The description of an export, and the page of several."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from components.export.comparison import compare
from components.export.description import Source, content_id, describe, size_bytes
from components.export.exported import Exported, Tensor
from components.export.page import exports_page, table_rows
from components.model.backend import load_keras
from components.model.classifier import Classifier, add_temperature, build_classifier
from components.params.reader import Params
from tests.components.pages.outline import Outline


@pytest.fixture(scope="module")
def classifier(params: Params, tiny_backbone: None) -> Classifier:
    load_keras()
    names = ["a<b", "c"]
    return add_temperature(build_classifier(params.model, names, 16, "pad"), 2.0)


@pytest.fixture
def description(classifier: Classifier, tmp_path: Path) -> dict:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"12345")
    exported = Exported(
        lambda images: images,  # type: ignore[arg-type, return-value]
        Tensor("images", "uint8", (None, 16, 16, 3)),
        Tensor("output_0", "float32", (None, 2)),
    )
    shares = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    return describe(
        "onnx",
        file,
        classifier,
        {"cmyk": "convert"},
        exported,
        Source("f" * 64, "digits/3", 2_500_000, {1: 1.0, 16: 8.0}),
        compare(np.array([0, 1]), shares, shares[:, ::-1], 0.95),
        {1: 0.51239, 16: 4.0},
    )


def test_a_folder_is_known_by_its_list_of_files(tmp_path: Path) -> None:
    (tmp_path / "model/b").mkdir(parents=True)
    (tmp_path / "model/b/z").write_bytes(b"x")
    (tmp_path / "model/c").write_bytes(b"aa")
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("b/z", b"x"), ("c", b"aa"))
    ]
    assert content_id(tmp_path / "model") == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert size_bytes(tmp_path / "model") == 3
    (tmp_path / "model/c").rename(tmp_path / "model/d")
    assert content_id(tmp_path / "model") != hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_description_has_what_the_format_cannot_hold(description: dict) -> None:
    tree = json.loads(json.dumps(description, allow_nan=False))
    assert tree["sha256"] == hashlib.sha256(b"12345").hexdigest()
    assert (tree["bytes"], tree["model_id"], tree["version"]) == (5, "f" * 64, "digits/3")
    assert tree["class_names"] == ["a<b", "c"]
    assert tree["input"] == {"name": "images", "dtype": "uint8", "shape": [None, 16, 16, 3]}
    inside, outside = (tree["preprocessing"][each] for each in ("inside", "outside"))
    assert any("temperature" in step for step in inside)
    assert not any("views" in step for step in inside)
    assert any("fill the rest with black" in step for step in outside)
    assert tree["preprocessing"]["decode"] == {"cmyk": "convert"}
    assert tree["check"]["latency_ms"] == {"1": 0.512, "16": 4.0}
    assert tree["check"]["accuracy"]["value"] == 0.0
    assert tree["model"]["accuracy"]["value"] == 1.0


def test_the_page_has_a_row_for_the_model_and_for_each_export(description: dict) -> None:
    older = description | {"model": description["model"] | {"bytes": 1_000}}
    described = {
        Path("data/export/model.onnx"): older,
        Path("out/<b>"): description | {"format": "litert", "bytes": 640_000},
    }
    page = exports_page("digits, version 3", described)
    outline = Outline(page)
    assert outline.open == []
    table = outline.section("table")
    for text in ("model.keras 2.5 MB 1.000", "onnx", "litert", "640 kB 0.000", "0.51 ms"):
        assert text in table
    assert "out/<b>" in outline.names
    assert [row.cells[0] for row in table_rows(described)] == ["model.keras", "onnx", "litert"]
    assert "fill the rest with black" in outline.section("use")
    assert page == exports_page("digits, version 3", described)
