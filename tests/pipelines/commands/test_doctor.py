"""The doctor → one finding for each thing that would stop a run, whatever state it meets."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.errors import UserError
from components.model import backend, devices
from components.tracking import connection
from components.training import feeding
from components.training.machines import ADDRESS, COUNT, LIMIT, NUMBER
from pipelines.commands import doctor
from pipelines.commands.doctor import Check, examine
from pipelines.commands.variables import DEVICES, FOLDERS, other_variables, prefect_server
from pipelines.workspace import locks, shared_store
from pipelines.workspace.addresses import SERVERS
from pipelines.workspace.environment import PROXIES
from pipelines.workspace.search_variables import EXECUTOR, STORAGE, WORKERS
from tests.cards import DIGITS
from tests.pipelines.versioned import dvc

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> Path:
    """A workspace that nothing is wrong with: 200 digits, tracked by DVC, committed to git."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("healthy")
    os.chdir(folder)
    shutil.copy(DIGITS, "params.yaml")
    shutil.copy(ROOT / "requirements.lock", ".")
    Path(".gitignore").write_text("/.fovea/\n/mlflow.db\n")
    shutil.copytree(digits_folder, "data/raw")
    run("git", "init", "--quiet")
    dvc("init")
    dvc("add", "data/raw")
    commit()
    os.chdir(here)
    return folder


@pytest.fixture
def patient(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(healthy, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def commit() -> None:
    run("git", "add", "--all")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "a")


def check_of(name: str) -> Check:
    """Return the result of one check, without the others, of which some take seconds."""
    return doctor._answer(name, doctor._questions()[name], Path())


def test_a_healthy_workspace_has_no_finding_and_is_left_as_it_was(patient: Path) -> None:
    before = sorted(path for path in patient.rglob("*") if "/.dvc/" not in str(path))
    started = time.monotonic()
    checks = list(examine())
    assert time.monotonic() - started < 15
    assert [check for check in checks if check.status != "ok"] == []
    findings = {check.name: check.finding for check in checks}
    assert findings["data"] == "200 images in 10 classes, as tracked by DVC"
    assert sorted(path for path in patient.rglob("*") if "/.dvc/" not in str(path)) == before


def test_a_search_is_announced_and_its_page_named(patient: Path) -> None:
    text = re.sub(r"  trials: \d+ ", "  trials: 5 ", (patient / "params.yaml").read_text())
    (patient / "params.yaml").write_text(text)
    finding = check_of("search").finding
    assert finding.startswith("5 trials, then ")
    assert finding.endswith("; data/search/study.html will show them")
    (patient / "params.yaml").write_text(text.replace("  trials: 5 ", "  trials: 0 "))
    assert check_of("search").finding == "no search, because search.trials is 0"


def test_a_folder_that_is_no_repository_of_ours_gets_no_advice_but_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [check] = examine()
    assert (check.name, check.status) == ("folder", "fail")
    assert check.advice == "run from the repository's root"


def test_params_alone_are_found_without_raising(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    checks = {check.name: check for check in examine()}
    assert checks["git"].status == "warn"
    assert "core.no_scm" in checks["git"].advice
    assert checks["dvc"].status == checks["data"].status == checks["params"].status == "fail"


def test_links_among_the_images_are_a_failure(patient: Path) -> None:
    (patient / "data/raw/0/link.png").symlink_to("/etc/hostname")
    check = check_of("data")
    assert check.status == "fail"
    assert "1 link that does not lead into DVC's cache, such as data/raw/0/link" in check.finding


def test_links_of_dvc_into_its_cache_are_images_and_other_links_are_none(patient: Path) -> None:
    dvc("config", "--local", "cache.type", "symlink")
    dvc("checkout", "--quiet", "--relink")
    assert check_of("data").finding == "200 images in 10 classes, as tracked by DVC"
    (patient / ".dvc/cache").rename(patient / ".dvc/other cache")
    shutil.copytree(patient / ".dvc/other cache", patient / ".dvc/cache")
    link = next((patient / "data/raw").rglob("*.png"))
    target = Path(str(link.readlink()).replace(".dvc/cache", ".dvc/other cache"))
    link.unlink()
    link.symlink_to(target)
    check = check_of("data")
    name = link.relative_to(patient)
    assert f"and 1 link that does not lead into DVC's cache, such as {name}" in check.finding
    assert "dvc checkout --relink data/raw.dvc" in check.advice
    dvc("checkout", "--quiet", "--relink", "data/raw.dvc")
    assert check_of("data").status == "ok"


def test_a_name_that_is_not_utf8_is_to_be_renamed_and_not_to_be_added(patient: Path) -> None:
    (patient / "data/raw.dvc").unlink()
    (patient / "data/raw/0" / os.fsdecode(b"caf\xe9.png")).touch()
    check = check_of("data")
    assert (check.status, "dvc add" in check.advice) == ("fail", False)
    assert check.finding.endswith("and 1 name that is not UTF-8, such as data/raw/0/caf\\udce9.png")
    assert check.advice.startswith("rename")


def test_images_of_12_in_16_bits_are_a_warning_with_a_window(patient: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (24, 24), dtype=np.uint16)
    for file in list((patient / "data/raw").rglob("*.png")):
        Image.fromarray(values).save(file)
    check = check_of("16 bits")
    assert check.status == "warn"
    assert "(12 bits), so `high_byte` leaves 16 of 256 levels" in check.finding
    found = re.search(r"to ({ window: { low: \d+, high: \d+ } })", check.finding)
    assert found
    card = Path("params.yaml")
    card.write_text(card.read_text().replace("sixteen_bit: high_byte", f"sixteen_bit: {found[1]}"))
    check = check_of("16 bits")
    assert (check.status, found[1] in check.finding) == ("ok", True)


def test_a_changed_image_is_a_warning_with_the_command_to_track_it(patient: Path) -> None:
    next((patient / "data/raw").rglob("*.png")).unlink()
    check = check_of("data")
    assert (check.status, check.advice) == ("warn", "dvc add data/raw")
    assert check.finding.startswith("199 images")


def test_untracked_images_are_a_warning(patient: Path) -> None:
    (patient / "data/raw.dvc").unlink()
    assert "not tracked by DVC" in check_of("data").finding


def test_images_that_were_never_pulled_are_a_failure(patient: Path) -> None:
    shutil.rmtree(patient / "data/raw")
    check = check_of("data")
    assert check.status == "fail"
    assert "dvc pull" in check.advice


def test_uncommitted_changes_are_named(patient: Path) -> None:
    (patient / "params.yaml").write_text((patient / "params.yaml").read_text() + "\n")
    check = check_of("git")
    assert check.status == "warn"
    assert "params.yaml" in check.finding


def test_a_repository_of_another_user_is_not_taken_for_none(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    check = doctor._git(patient)
    assert check.status == "warn"
    assert "dubious ownership" in check.finding
    assert "git init" not in check.advice


def test_a_misspelt_key_is_named(patient: Path) -> None:
    text = (patient / "params.yaml").read_text().replace("batch_size:", "batchsize:")
    (patient / "params.yaml").write_text(text)
    assert "train.batchsize is not a known key" in check_of("params").finding


def test_mirrored_views_without_mirrored_training_images_are_warned_of(patient: Path) -> None:
    assert check_of("params").status == "ok"
    text = (patient / "params.yaml").read_text().replace("views: plain", "views: mirrored")
    (patient / "params.yaml").write_text(text)
    check = check_of("params")
    assert (check.status, "train.augmentation mirrors no image" in check.finding) == ("warn", True)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("batch_size:", "batchsize:", "train.batchsize is not a known key"),
        ("  val: 0.15", "  val: 0.15\n  val: 0.5", "has the key `val` twice, in lines"),
    ],
)
def test_a_mistake_in_params_is_printed_once(
    patient: Path, old: str, new: str, finding: str
) -> None:
    text = (patient / "params.yaml").read_text().replace(old, new)
    (patient / "params.yaml").write_text(text)
    checks = list(examine())
    assert [check.name for check in checks if finding in check.finding] == ["params"]
    referring = {check.name for check in checks if check.finding.endswith("; see params")}
    assert {"data", "disk", "weights"} <= referring
    assert not any("val" in check.finding for check in checks if check.name == "dvc")


def test_weights_for_label_errors_that_are_not_there_are_named(patient: Path) -> None:
    old = "backbone: none\n    width: 0.35\n    weights: imagenet"
    new = "backbone: vgg16\n    width: 1.0\n    weights: data/weights/old.keras"
    text = (patient / "params.yaml").read_text()
    assert old in text
    (patient / "params.yaml").write_text(text.replace(old, new))
    check = check_of("weights")
    assert check.status == "fail"
    assert "validate.label_errors.weights names is missing" in check.finding


def test_a_package_at_another_version_is_named(patient: Path) -> None:
    lock = patient / "requirements.lock"
    lock.write_text(lock.read_text() + "numpy==1.0.0 \\\nno-such-package==2.0 \\\n")
    check = check_of("packages")
    assert check.status == "fail"
    assert "instead of 1.0.0" in check.finding
    assert "no-such-package missing instead of 2.0" in check.finding


def test_images_that_cannot_be_listed_are_printed_once(patient: Path) -> None:
    (patient / "data/raw/labels.csv").write_text("path,label\n")  # beside class folders
    findings = {name: check_of(name) for name in ("data", "disk", "16 bits")}
    assert "can be read as two kinds of source" in findings["data"].finding
    assert {findings[name].finding for name in ("disk", "16 bits")} == {
        "not checked, because the images cannot be listed; see data"
    }


@pytest.mark.parametrize("folder", ["data", ".dvc", "elsewhere/cache"])
def test_a_folder_that_cannot_be_written_is_a_failure(
    folder: str, patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (patient / ".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere/cache\n")
    closed = patient / folder  # root may write everywhere, so the answer is given here
    monkeypatch.setattr(doctor, "can_write", lambda path: path.resolve() != closed)
    check = check_of("disk")
    assert check.status == "fail"
    assert check.finding.startswith("you may not write into ")
    assert "run as its owner" in check.advice


def test_a_disk_too_small_for_the_prepared_images_is_a_failure(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(patient)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check = check_of("disk")
    assert check.status == "fail", check


def test_a_plain_folder_as_mlflow_store_is_refused(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    check = check_of("mlflow")
    assert check.status == "fail"
    assert "MLFLOW_TRACKING_URI" in check.advice


def test_an_mlflow_server_that_is_not_there_is_named(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(connection, "REMOTE_LIMIT_S", 1.0)
    started = time.monotonic()
    check = check_of("mlflow")
    assert time.monotonic() - started < 15
    assert check.status == "fail"
    assert "http://127.0.0.1:9" in check.finding


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PREFECT_API_URL", "http://ann:secret@127.0.0.1:9/api", "server does not answer"),
        ("PREFECT_API_URL", "127.0.0.1:4200/api", "must start with http:// or https://"),
        ("PREFECT_HOME", "/dev/null/prefect", "PREFECT_HOME must name a folder"),
        ("PREFECT_HOME", "/tmp/what?", "a path with `?` for its database; set PREFECT_HOME"),
        ("KERAS_HOME", "/dev/null", "KERAS_HOME must name a folder"),
        ("CUDA_VISIBLE_DEVICES", "first", "must be numbers of GPUs such as 0,1"),
        ("FOVEA_MACHINES", "2", "only Keras' backend JAX trains on several machines"),
        ("FOVEA_WORKERS", "two", "FOVEA_WORKERS must be the number of worker processes"),
        ("FOVEA_SEARCH_EXECUTOR", "slurm", "write local or prefect"),
        ("FOVEA_SEARCH_WORKERS", "two", "FOVEA_SEARCH_WORKERS: no number from 1 to 999"),
        ("https_proxy", "127.0.0.1:9", "no proxy answers at https_proxy"),
        ("ALL_PROXY", "http://ann:secret@127.0.0.1:9", "no proxy answers at ALL_PROXY"),
    ],
)
def test_a_variable_of_the_environment_that_cannot_be_used_is_named(
    variable: str, value: str, sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        prefect_server({variable: value})
        other_variables({variable: value})
    assert sentence in str(caught.value)
    received = re.escape(value.replace("ann:secret@", ""))
    assert re.search(rf"Received: ({variable}=)?{received}$", str(caught.value))


def test_a_search_on_other_machines_without_a_database_is_named() -> None:
    with pytest.raises(UserError, match="FOVEA_STUDY_STORAGE: missing"):
        other_variables({"FOVEA_SEARCH_EXECUTOR": "prefect"})


@pytest.mark.parametrize("devices", ["", "-1", "0", "0, 1", "GPU-8932f937-d72c,MIG-GPU-8932/1/2"])
def test_every_form_of_cuda_visible_devices_is_accepted(devices: str, tmp_path: Path) -> None:
    homes = {"PREFECT_HOME": str(tmp_path / "new/one"), "KERAS_HOME": str(tmp_path)}
    assert "can be used" in other_variables({"CUDA_VISIBLE_DEVICES": devices, **homes})


def test_the_doctor_looks_at_every_variable_in_the_table_of_infra() -> None:
    text = (ROOT / "infra/README.md").read_text()
    named = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))
    proxies = {name.upper() for name in PROXIES}
    training = {backend.VARIABLE, devices.VARIABLE, feeding.VARIABLE}
    machines = {COUNT, NUMBER, ADDRESS, LIMIT}
    others = {DEVICES, "MLFLOW_EXPERIMENT_NAME", "NO_PROXY"}
    search = {EXECUTOR, WORKERS, STORAGE, shared_store.VARIABLE}
    assert {*FOLDERS, *SERVERS, *proxies, *training, *machines, *search, *others} == named


@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        ("/dev/null/backup", "fail", "the DVC remote cannot be used"),
        ("{here}/missing", "warn", "the folder of the DVC remote backup does not exist"),
        ("{here}/data", "ok", "backup answers"),
    ],
)
def test_the_dvc_remote_is_asked(patient: Path, url: str, status: str, sentence: str) -> None:
    dvc("remote", "add", "--default", "backup", url.format(here=patient))
    check = check_of("remote")
    assert (check.status, sentence in check.finding) == (status, True), check


def test_weights_that_are_not_there_are_named(patient: Path) -> None:
    text = (patient / "params.yaml").read_text()
    (patient / "params.yaml").write_text(
        text.replace("weights: none", "weights: data/weights/old.keras")
    )
    check = check_of("weights")
    assert check.status == "fail"
    assert "old.keras" in check.finding


def test_a_torn_lock_and_a_held_workspace_are_reported(patient: Path) -> None:
    with locks.hold(patient, "a long run", print):
        assert "`a long run`" in check_of("locks").finding
    torn = patient / ".dvc/tmp/rwlock"
    torn.write_text("")
    check = check_of("locks")
    assert (check.status, torn.exists()) == ("fail", True)
    assert "rm .dvc/tmp/rwlock" in check.advice


def test_a_check_that_breaks_is_a_finding_too(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(root: Path) -> Check:
        raise RuntimeError("what now")

    monkeypatch.setattr(doctor, "_git", broken)
    assert "RuntimeError: what now" in check_of("git").finding


@pytest.mark.slow
def test_the_backend_is_named_and_an_unknown_one_is_a_finding(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_of("backend").finding.startswith("Keras computes with tensorflow 2.")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    check = check_of("backend")
    assert (check.status, check.finding.endswith("Received: torch")) == ("fail", True)


@pytest.mark.slow
def test_more_devices_than_there_are_is_a_finding(
    patient: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEA_DEVICES", "9")
    check = check_of("backend")
    assert (check.status, check.finding.endswith("Received: 9")) == ("fail", True)
    monkeypatch.setenv("FOVEA_DEVICES", "all")
    assert check_of("backend").finding.endswith(" on 1 device")


def test_a_driver_without_a_usable_gpu_is_a_warning(
    patient: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = patient / "bin/nvidia-smi"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    exec(doctor.COUNT_GPUS)  # in this process, for it may have started the backend already
    assert capsys.readouterr().out.strip().isdecimal()
    monkeypatch.setattr(doctor, "COUNT_GPUS", "print(0)")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    check = check_of("gpu")
    assert (check.status, check.advice) == ("warn", "unset CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    check = check_of("gpu")
    assert check.status == "warn"
    assert "fovea[gpu]" in check.advice
