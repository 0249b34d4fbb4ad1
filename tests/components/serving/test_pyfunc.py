"""A version answers for pictures through MLflow: bytes, base64 in JSON, no code of strangers."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from components.errors import UserError
from components.images.png_writer import encode_png
from components.serving import Model
from components.serving.pyfunc import _load_pyfunc
from components.tracking.connection import client
from tests.components.serving.conftest import NAMES, SIZE

Register = Callable[..., int]


@pytest.fixture
def images(model: Model) -> list[bytes]:
    pixels = np.random.default_rng(5).integers(0, 256, (3, SIZE, 40, 3), dtype=np.uint8)
    return [*map(encode_png, pixels), b"no image"]


@pytest.fixture
def version(register: Register, model_file: Path) -> str:
    register(model_file)
    client()  # sets the address of the store
    return "models:/digits/1"


def stored() -> Path:
    [mlmodel] = Path("mlruns").rglob("MLmodel")
    return mlmodel.parent


def check(rows: list[dict[str, Any]], model: Model, images: list[bytes]) -> None:
    """Compare answers of MLflow with those of `Model.predict`."""
    assert len(rows) == len(images)
    for row, expected in zip(rows, model.predict(images), strict=True):
        assert (row["label"], row["fault"]) == (expected.label, expected.fault)
        if expected.fault is None:
            assert row["probability"] == pytest.approx(expected.probability, abs=1e-6)
            assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
            assert list(row["probabilities"]) == list(NAMES)
    assert rows[-1] == {
        "label": None,
        "probability": None,
        "probabilities": None,
        "fault": "not_an_image",
    }


def test_a_version_answers_bytes_and_base64(
    version: str, model: Model, images: list[bytes]
) -> None:
    import mlflow
    from mlflow.pyfunc.scoring_server import invocations

    loaded = mlflow.pyfunc.load_model(version)
    table = loaded.predict(pd.DataFrame({"image": images}))
    check(table.to_dict("records"), model, images)
    texts = [base64.b64encode(image).decode() for image in images]
    check(loaded.predict(pd.DataFrame({"image": texts})).to_dict("records"), model, images)
    lines = [base64.encodebytes(image).decode() for image in images]  # as `base64` prints it
    check(loaded.predict(pd.DataFrame({"image": lines})).to_dict("records"), model, images)
    odd = loaded.predict(pd.DataFrame({"image": ["no base64", None]}))
    assert odd["fault"].tolist() == ["not_an_image", "empty_file"]

    schema = loaded.metadata.get_input_schema()
    for body in (
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        {"dataframe_records": [{"image": text} for text in texts]},
        {"inputs": {"image": texts}},
    ):
        answer = invocations(json.dumps(body), "application/json", loaded, schema)
        # `parse_constant` is called for NaN, which is no JSON.
        tree = json.loads(answer.response, parse_constant=pytest.fail)
        check(tree["predictions"], model, images)
    example = loaded.input_example
    assert loaded.predict(example)["label"].notna().all()


def test_the_folder_has_no_code_and_no_pickle_and_pip_finds_no_fovea(version: str) -> None:
    folder = stored()
    flavors = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    ours = flavors["python_function"]
    assert (ours["loader_module"], ours["data"]) == (
        "components.serving.pyfunc",
        "data/model.keras",
    )
    assert set(flavors) == {"keras", "python_function"}
    assert {"code", "python_model", "cloudpickle_version"} & set(ours) == set()
    assert not [file for file in folder.rglob("*") if file.suffix in (".py", ".pkl", ".pickle")]
    assert "fovea" not in (folder / "requirements.txt").read_text()


def test_a_changed_model_is_not_loaded_by_mlflow_either(version: str) -> None:
    import mlflow

    file = stored() / "data/model.keras"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="was changed since it was registered"):
        mlflow.pyfunc.load_model(version)


def test_a_file_without_a_sha256_on_record_is_not_loaded(model_file: Path) -> None:
    with pytest.raises(UserError, match="should be None, and the file is not loaded"):
        _load_pyfunc(str(model_file))


@pytest.fixture
def served(version: str, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve`, which runs until the end of the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "-m", version, "--port", port, "--host", "127.0.0.1"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.mark.slow  # MLflow and TensorFlow start in a process of their own
def test_mlflow_models_serve_takes_base64(served: str, model: Model, images: list[bytes]) -> None:
    texts = [base64.b64encode(image).decode() for image in images]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": [[t] for t in texts]}})
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{served}/invocations", body.encode(), kind)
    for _ in range(300):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                check(json.load(answer)["predictions"], model, images)
            return
        except urllib.error.URLError:
            time.sleep(0.5)
    pytest.fail("the server does not answer")


@pytest.mark.slow  # MLflow and TensorFlow start in a process of their own
def test_mlflow_models_predict_takes_base64(
    version: str, model: Model, images: list[bytes], tmp_path: Path
) -> None:
    texts = [base64.b64encode(image).decode() for image in images]
    request, answer = tmp_path / "request.json", tmp_path / "answer.json"
    request.write_text(json.dumps({"dataframe_records": [{"image": text} for text in texts]}))
    mlflow = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    files = ["-m", version, "-i", str(request), "-o", str(answer)]
    subprocess.run([*mlflow, *files], check=True, capture_output=True)
    check(json.loads(answer.read_text())["predictions"], model, images)
