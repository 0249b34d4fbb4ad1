"""A version that was changed or made by a stranger: nothing of it is run, whoever loads it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.images.png_writer import encode_png
from components.model.archive_checks import CONFIG, WEIGHTS
from components.model.backend import load_keras
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from components.registry.versions import DOWNLOADS, register_version
from components.serving import load
from components.tracking.runs import start_run
from tests.cards import DIGITS
from tests.components.origins import ORIGIN

NAMES, SIZE = ("cat", "dog"), 16
TRACE = Path("the code ran")
ADDRESS = "models:/digits@challenger"
Typed = Callable[..., tuple[int, str, str]]
Change = Callable[[Path], None]  # of the folder of a version in the store


@pytest.fixture(scope="module")
def model_file(
    params: Params, tiny_backbone: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    load_keras()
    file = tmp_path_factory.mktemp("made") / "model.keras"
    write_classifier(file, build_classifier(params.model, NAMES, SIZE, "squash"))
    return file


@pytest.fixture(autouse=True)
def folder(folder_with_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, params.yaml, and a module that leaves a trace if it is imported."""
    shutil.copy(DIGITS, "params.yaml")
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Path("image.png").write_bytes(encode_png(pixels))
    Path("wicked.py").write_text(f"open({str(TRACE)!r}, 'w').close()\n_load_pyfunc = print\n")
    monkeypatch.syspath_prepend(str(folder_with_store))
    return folder_with_store


def register(file: Path) -> Path:
    """Register a file, and return the folder of its version in the store."""
    with start_run("train", ORIGIN, {"stage": "train"}) as run:
        pass
    register_version("digits", file, run, np.zeros((1, SIZE, SIZE, 3), np.uint8), len(NAMES), {})
    [described] = Path("mlruns").rglob("MLmodel")
    return described.parent


def check_refused(reason: str, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """Ask all three that load a version. Each must say one sentence, and run nothing."""
    with pytest.raises(UserError, match=reason):
        load(ADDRESS)
    for arguments in (("predict", "image.png"), ("export", "--to", "saved_model")):
        capsys.readouterr()
        status, out, err = typed(*arguments, "--model", ADDRESS)
        assert status == 1
        [said] = [line for line in err.splitlines() if line.startswith("error: ")]
        assert reason in said and "Received: " in said
        assert "Traceback" not in err
        assert not out
    assert not TRACE.exists()
    assert not Path("data/export").exists()


def _change_a_byte(folder: Path) -> None:
    file = folder / "data/model.keras"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _link_to_another_file(folder: Path) -> None:
    Path("other.keras").write_bytes(b"another model")
    (folder / "data/model.keras").unlink()
    (folder / "data/model.keras").symlink_to(Path("other.keras").resolve())


def _link_to_another_folder(folder: Path) -> None:
    Path("other").mkdir()
    Path("other/model.keras").write_bytes(b"another model")
    shutil.rmtree(folder / "data")
    (folder / "data").symlink_to(Path("other").resolve())


def _put_a_folder(folder: Path) -> None:
    (folder / "data/model.keras").unlink()
    (folder / "data/model.keras").mkdir()
    (folder / "data/model.keras/x").touch()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_change_a_byte, "was changed since it was registered"),
        (_link_to_another_file, "cannot be downloaded from MLflow"),
        (_link_to_another_folder, "cannot be downloaded from MLflow"),
        (_put_a_folder, "cannot be downloaded from MLflow"),
    ],
)
def test_a_file_with_other_bytes_than_on_record_is_not_opened(
    change: Change,
    reason: str,
    model_file: Path,
    typed: Typed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(register(model_file))
    check_refused(reason, typed, capsys)
    assert not list(DOWNLOADS.iterdir())


def _rewrite(file: Path, made: Path, **changed: bytes) -> Path:
    """Write a copy of a model file with other members, or with more of them."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        for name, content in {**members, **changed}.items():
            new.writestr(name, content)
    return made


def _with_lambda(file: Path) -> Path:
    import keras

    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    layer = keras.layers.Lambda(
        lambda images: (open("the code ran", "w").close(), images)[1] / 255  # noqa: PTH123
    )
    flat = keras.layers.GlobalAveragePooling2D()(layer(pixels))
    keras.Model(pixels, keras.layers.Dense(2, "softmax")(flat)).save("lambda.keras")
    TRACE.unlink()  # Keras has called the function to build the network
    with zipfile.ZipFile("lambda.keras") as archive:
        return _rewrite(
            file,
            Path("wicked.keras"),
            **{name: archive.read(name) for name in (CONFIG, WEIGHTS)},
        )


def _with_a_class_of_its_own(file: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read(CONFIG))
    config["config"]["layers"][0] |= {
        **{"module": "wicked", "class_name": "Layer", "registered_name": "wicked>Layer"}
    }
    return _rewrite(file, Path("wicked.keras"), **{CONFIG: json.dumps(config).encode()})


def _with_a_pickle(file: Path) -> Path:
    return _rewrite(file, Path("wicked.keras"), **{"assets/layer.pkl": b"cposix\nsystem\n."})


@pytest.mark.parametrize("make", [_with_lambda, _with_a_class_of_its_own, _with_a_pickle])
def test_a_file_that_a_stranger_registered_with_its_sha256_is_not_opened(
    make: Callable[[Path], Path],
    model_file: Path,
    typed: Typed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register(make(model_file))
    check_refused("is not a model file that Fovea wrote", typed, capsys)


def test_what_else_lies_in_the_folder_of_a_version_is_not_read(
    model_file: Path, typed: Typed
) -> None:
    folder = register(model_file)
    described = (folder / "MLmodel").read_text()
    loader = "loader_module: components.serving.pyfunc"
    assert loader in described
    (folder / "MLmodel").write_text(
        described.replace(loader, "loader_module: wicked\n    code: code")
    )
    (folder / "code").mkdir()
    shutil.copy("wicked.py", folder / "code/sitecustomize.py")
    (folder / "data/custom_objects.cloudpickle").write_bytes(b"cwicked\n_load_pyfunc\n.")
    (folder / "link").symlink_to("/")
    expected = load(model_file).predict(["image.png"])
    assert load(ADDRESS).predict(["image.png"]) == expected
    status, out, _ = typed("predict", "image.png", "--model", ADDRESS)
    assert status == 0
    assert str(expected[0].label) in out
    [kept] = DOWNLOADS.iterdir()
    assert kept.read_bytes() == model_file.read_bytes()
    assert not TRACE.exists()

    # MLflow's own loader runs what MLmodel names. This is why SECURITY.md warns of it.
    import mlflow

    with pytest.raises(mlflow.exceptions.MlflowException, match="predict"):
        mlflow.pyfunc.load_model(ADDRESS)
    assert TRACE.exists()
