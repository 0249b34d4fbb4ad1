import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.model.backend import load_keras
from components.params.reader import Params
from components.registry.promotion import promote, reject, rollback
from components.registry.standing import history
from components.registry.versions import (
    DOWNLOADS,
    challenger,
    champion,
    download,
    find_version,
    register_version,
    version_of_model,
    versions,
)
from components.registry.weights import resolve_weights
from components.tracking.connection import ARTIFACTS_VARIABLE, client
from components.tracking.runs import start_run
from tests.components.origins import ORIGIN
from tests.components.tracking.servers import Server

Register = Callable[..., int]


def stored_file(number: int) -> Path:
    """Return where the store keeps the file of a version."""
    uri = client().get_model_version_download_uri("digits", str(number))
    return Path(uri.removeprefix("file://")) / "data/model.keras"


def test_a_version_carries_its_sha256_its_run_and_its_tags(registered: Register) -> None:
    assert registered(b"one") == 1
    version = find_version("digits", "1")
    assert version.model_id == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert version.tags["verdict"] == "promote"
    assert version.tags["training_run_id"] == version.run.id
    assert client().get_run(version.run.id).outputs.model_outputs


def test_the_same_file_is_the_same_version_with_newer_tags(registered: Register) -> None:
    assert (registered(b"one"), registered(b"two"), registered(b"one", verdict="hold")) == (1, 2, 1)
    assert [each.tags["verdict"] for each in versions("digits")] == ["hold", "promote"]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("4711", "none (git does not answer)"),
        ("none (git does not answer)", "4711"),
        ("4711", "0815"),
    ],
)
def test_the_lineage_of_a_version_is_written_once(
    registered: Register, first: str, later: str
) -> None:
    registered(b"one", **{"git.commit": first, "verdict": "hold", "test_id": "a"})
    before = dict(find_version("digits", "1").tags)
    registered(b"one", **{"git.commit": later, "seed": "2", "verdict": "promote", "test_id": "b"})
    assert find_version("digits", "1").tags == {**before, "verdict": "promote", "test_id": "b"}


def test_a_version_without_a_sha256_is_not_the_version_of_any_model(workspace: Path) -> None:
    client().create_registered_model("digits")
    client().create_model_version("digits", "s3://somewhere/else")
    assert version_of_model(versions("digits"), "") is None


def test_the_version_registered_last_is_the_challenger(registered: Register) -> None:
    assert challenger("digits") is None
    registered(b"one")
    registered(b"two")
    found = challenger("digits")
    assert found is not None
    assert found.number == 2


def test_the_champion_and_a_rejected_version_do_not_become_challenger_again(
    registered: Register,
) -> None:
    registered(b"one")
    promote("digits", "1", "first", "Ann")
    registered(b"one")
    assert challenger("digits") is None
    registered(b"two")
    reject("digits", "2", "no", "Ann")
    registered(b"two")
    assert challenger("digits") is None


def test_metrics_of_the_run_are_shown_beside_the_version_and_not_doubled(workspace: Path) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    Path("model.keras").write_bytes(b"one")
    with start_run("train", ORIGIN, {}) as run:
        run.log_metrics({"test_accuracy": 0.9, "loss": 1.0})
    register_version("digits", Path("model.keras"), run, pixels, 2, {}, ("test_accuracy", "none"))
    logged_id = client().get_run(run.id).outputs.model_outputs[0].model_id
    shown = {each.key: each.value for each in client().get_logged_model(logged_id).metrics}
    assert shown == {"test_accuracy": 0.9}
    assert len(client().get_metric_history(run.id, "test_accuracy")) == 1


def test_a_version_is_found_by_number_v_number_and_alias(registered: Register) -> None:
    registered(b"one")
    found = [find_version("digits", wanted).number for wanted in ("1", "v1", "challenger")]
    assert found == [1, 1, 1]


def test_an_alias_that_looks_like_a_number_hides_no_version(registered: Register) -> None:
    registered(b"one")
    registered(b"two")
    client().set_registered_model_alias("digits", "2", "1")
    assert find_version("digits", "2").number == 2


def test_an_unknown_version_is_answered_with_those_that_exist(registered: Register) -> None:
    with pytest.raises(UserError, match=r"has no version yet; .* Received: champion"):
        find_version("digits", "champion")
    registered(b"one")
    registered(b"two")
    with pytest.raises(UserError, match=r"has versions 1, 2 \(challenger\). Received: 3"):
        find_version("digits", "3")


def test_a_downloaded_file_has_the_registered_bytes(registered: Register) -> None:
    registered(b"one")
    file = download(find_version("digits", "1"))
    assert file.read_bytes() == b"one"
    assert file.parent == DOWNLOADS


def test_one_changed_byte_in_the_store_is_refused(registered: Register) -> None:
    registered(b"one")
    stored_file(1).write_bytes(b"onf")
    with pytest.raises(UserError, match="was changed since it was registered"):
        download(find_version("digits", "1"))
    assert not list(DOWNLOADS.iterdir())


def test_one_changed_byte_in_the_local_copy_is_fetched_anew(registered: Register) -> None:
    registered(b"one")
    version = find_version("digits", "1")
    download(version).write_bytes(b"onf")
    assert download(version).read_bytes() == b"one"


def test_a_file_that_is_gone_is_named_by_its_version(registered: Register) -> None:
    registered(b"one")
    stored_file(1).unlink()
    with pytest.raises(UserError, match="Received: models:/digits/1"):
        download(find_version("digits", "1"))


def test_a_version_from_elsewhere_is_not_loaded(workspace: Path) -> None:
    client().create_registered_model("digits")
    client().create_model_version("digits", "s3://somewhere/else")
    assert champion("digits") is None
    with pytest.raises(UserError, match="was not registered by Fovea"):
        download(find_version("digits", "1"))


def resolved(params: Params, weights: str) -> Path | None:
    return resolve_weights(params.model.model_copy(update={"weights": weights}))


def test_weights_resolve_to_a_file_or_to_nothing(registered: Register, params: Params) -> None:
    registered(b"one")
    other = Path("data/weights/other.keras")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"two")
    assert resolved(params, "none") is None
    assert resolved(params, "imagenet") is None
    assert resolved(params, str(other)) == other
    reference = find_version("digits", "challenger").reference
    assert reference == (
        "models:/digits/1#sha256=7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    )
    file = resolved(params, reference)
    assert file is not None
    assert file.read_bytes() == b"one"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("data/weights/gone.keras", r"copy the file to data/weights.*: data/weights/gone.keras"),
        (f"models:/digits/2#sha256={'0' * 64}", r"versions? 1 \(challenger\). Received: 2"),
        ("models:/birds/1", r"birds at sqlite:///mlflow.db has no version yet"),
    ],
)
def test_weights_that_are_not_there_are_named(
    registered: Register, params: Params, weights: str, sentence: str
) -> None:
    registered(b"one")
    with pytest.raises(UserError, match=sentence):
        resolved(params, weights)


def test_a_version_without_its_sha256_is_answered_with_what_to_write(
    registered: Register, params: Params
) -> None:
    registered(b"one")
    with pytest.raises(UserError, match="since another MLflow store can have another") as refused:
        resolved(params, "models:/digits/1")
    assert find_version("digits", "1").reference in str(refused.value)
    assert str(refused.value).endswith("Received: models:/digits/1")


def test_the_same_number_of_another_store_is_refused_by_both_sha256(
    registered: Register, params: Params
) -> None:
    registered(b"two")
    written = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"  # of b"one"
    with pytest.raises(UserError, match="is not the model that") as refused:
        resolved(params, f"models:/digits/1#sha256={written}")
    there = find_version("digits", "1").model_id
    assert f"its sha256 is {there}, and should be {written}" in str(refused.value)


def test_bytes_that_are_not_those_of_the_sha256_are_refused(
    registered: Register, params: Params
) -> None:
    registered(b"one")
    reference = find_version("digits", "1").reference
    stored_file(1).write_bytes(b"onf")
    with pytest.raises(UserError, match="was changed since it was registered"):
        resolved(params, reference)


def test_a_workspace_may_have_any_name(
    workspace: Path, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "we?ird %41 #1 'quoted\" größe 猫 a:b;"  # marks of addresses and of SQL
    monkeypatch.setenv(ARTIFACTS_VARIABLE, "restored after the test")
    (workspace / name).mkdir()
    shutil.copy("mlflow.db", workspace / name)
    monkeypatch.chdir(workspace / name)
    assert registered(b"one") == 1
    version = find_version("digits", "1")
    assert download(version).read_bytes() == b"one"
    Path("verdict.json").write_text("{}")
    version.run.log_files(Path("verdict.json"), folder="register")
    assert version.run.read_text("register/verdict.json") == "{}"
    [experiment] = client().search_experiments(filter_string="name = 'fovea'")
    assert len(list(Path("mlruns", experiment.experiment_id).rglob("model.keras"))) == 1
    assert sorted(path.name for path in workspace.iterdir()) == sorted(["mlflow.db", name])


def test_a_failed_upload_leaves_no_version(
    registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("components.registry.mlflow_folder.write_model_folder", no_room)
        registered(b"one")
    assert versions("digits") == ()
    assert registered(b"one") == 1


def test_a_real_model_predicts_the_same_through_mlflow(registered: Register) -> None:
    load_keras()
    import keras
    import mlflow

    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    pixels = keras.Input((4, 4, 3), dtype="uint8")
    hidden = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(hidden))
    model.save("model.keras")
    registered(Path("model.keras").read_bytes())
    expected = model.predict(images, verbose=0)

    client()
    again = mlflow.keras.load_model("models:/digits@challenger")
    np.testing.assert_array_equal(again.predict(images, verbose=0), expected)
    again = mlflow.tensorflow.load_model("models:/digits/1")
    np.testing.assert_array_equal(again.predict(images, verbose=0), expected)
    assert "keras==" in (stored_file(1).parent.parent / "requirements.txt").read_text()


@pytest.fixture
def server(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real MLflow server that keeps store and files to itself."""
    running = Server(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    yield running.uri
    running.signal(signal.SIGKILL)


def test_a_server_is_as_good_as_a_file(
    server: str, registered: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (registered(b"one"), registered(b"two"), registered(b"one")) == (1, 2, 1)
    assert capsys.readouterr().out == ""
    promote("digits", "1", "first", "Ann")
    promote("digits", "2", "second", "Ann", override=True)
    start = time.monotonic()
    rollback("digits", "wrong alarms", "Ann")
    assert time.monotonic() - start < 5
    found = champion("digits")
    assert found is not None
    assert download(found).read_bytes() == b"one"
    assert len(history("digits")) == 3
