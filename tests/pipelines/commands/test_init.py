"""`fovea init` with real git and DVC: the demo goes, a card comes, and nothing else is lost."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.images.png_writer import encode_png
from components.params.hyperparameters import Hyperparameters
from components.params.reader import Params, read_params
from pipelines.artifacts import RAW
from pipelines.commands import doctor
from pipelines.commands.card import GPU_TOP, card_text
from pipelines.commands.data_add import add_images
from pipelines.commands.init import init
from pipelines.commands.presets import PRESETS
from pipelines.commands.sample import digits, write_sample
from pipelines.workspace import dvc_files
from pipelines.workspace.params_text import with_value
from tests.cards import DIGITS, PHOTOS
from tests.pipelines.versioned import ROOT, commit, dvc, make_repository, read, run, write

PARAMS = Path("params.yaml")
RESULTS = {"data/ingest/manifest.parquet": b"rows", "data/validate/docs/index.html": b"page"}
LOCK = """schema: '2.0'
stages:
  ingest:
    deps: [{{path: data/raw, md5: {listing}}}]
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository after `make demo` and a commit, with two files of results; to be copied."""
    folder, here = tmp_path_factory.mktemp("template"), Path.cwd()
    make_repository(folder)
    for name in ("dvc.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    write_sample("digits")
    write(folder, RESULTS)
    listing = dvc_files.listing_name_in(Path(f"{RAW}.dvc").read_text())
    Path("dvc.lock").write_text(LOCK.format(listing=listing))
    commit("the demo")
    os.chdir(here)
    return folder


@pytest.fixture
def demo(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "repository"


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing was run yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_repository(tmp_path / "clone")
    for name in ("dvc.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, ".")
    commit("a clone")
    return tmp_path / "clone"


def photos(name: str = "birds", floors: str = "", gpu: bool = False, agreed: bool = True) -> Params:
    """Run `fovea init` for photographs and return the params that it leaves."""
    init("photos", "standard", name, floors, gpu, agreed)
    return read_params(PARAMS)


def refused(run_it: Callable[[], object], match: str) -> None:
    """Check that it ends in a sentence, and that no file has changed."""
    before = files()
    with pytest.raises(UserError, match=match):
        run_it()
    assert files() == before


def files() -> dict[str, bytes]:
    """Return every file but those of the lock on the workspace."""
    return {name: data for name, data in read(Path()).items() if not name.startswith(".fovea/")}


def fovea(answers: str, *arguments: str) -> tuple[int, str]:
    """Run `fovea init` on a terminal of its own; return exit status and what it showed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.commands.fovea", "init", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.write(ours, answers.encode())
    shown, _ = process.communicate(timeout=300)
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown


def test_the_demo_goes_and_the_card_for_photographs_comes(demo: Path) -> None:
    params = photos()
    assert params.register_.name == "birds"
    assert (params.model.backbone, params.prepare.size) == ("mobilenet_v2", 224)
    assert sorted(path.name for path in Path("data").iterdir()) == [".gitignore"]
    assert not Path("dvc.lock").exists()
    tracked = run("git", "ls-files", "--", "data", "dvc.lock", "params.yaml").split()
    assert tracked == ["data/.gitignore", "params.yaml"]
    assert not Path("params.yaml.bak").exists()  # git has the demo's


def test_the_demo_can_come_back(demo: Path) -> None:
    photos()
    init("digits", "standard", None, "", gpu=False, agreed=True)
    assert PARAMS.read_bytes() == DIGITS.read_bytes()
    assert not RAW.exists()  # so that `fovea sample digits` brings the images
    assert not Path(f"{RAW}.dvc").exists()


def test_the_card_of_the_demo_removes_nothing(demo: Path) -> None:
    before = read(Path("data"))
    PARAMS.write_bytes(PHOTOS.read_bytes())
    init("digits", "standard", None, "", gpu=False, agreed=False)
    assert PARAMS.read_bytes() == DIGITS.read_bytes()
    assert read(Path("data")) == before


def test_a_fresh_clone_is_ready_for_images_and_the_doctor_agrees(fresh: Path) -> None:
    photos(agreed=False)  # nothing is removed, so nothing is asked
    incoming = fresh.parent / "incoming"
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    images = {f"{'cat' if n % 2 else 'dog'}/{n}.png": encode_png(p) for n, p in enumerate(pixels)}
    add_images(write(incoming, images))
    # The doctor downloads weights that are not here yet.
    for keys in (("model", "weights"), ("validate", "label_errors", "backbone")):
        PARAMS.write_text(with_value(PARAMS.read_text(), keys, "none"))
    commit("own images")
    checks = {check.name: check for check in doctor.examine()}
    assert {name for name, check in checks.items() if check.status == "fail"} <= {"packages"}
    assert checks["params"].status == checks["data"].status == checks["git"].status == "ok"
    assert checks["data"].finding == "24 images in 2 classes, as tracked by DVC"


@pytest.mark.parametrize("where", ["cat/1.png", "0/0000.png", "0/link.png"])
def test_images_that_are_not_the_demos_stop_it(demo: Path, where: str) -> None:
    path = RAW / where
    path.parent.mkdir(exist_ok=True)
    if where == "0/link.png":
        path.symlink_to("0000.png")
    else:
        path.unlink(missing_ok=True)
        path.write_bytes(b"mine")
    refused(photos, rf"^this folder has other images than the demo's, .*Received: {path}$")


def test_own_images_that_were_copied_first_stay_and_the_card_comes(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = {"cat/1.png": b"mine", "dog/1.png": b"mine too"}
    write(RAW, mine)
    assert photos("birds").register_.name == "birds"
    assert read(RAW) == mine
    assert "next: dvc add data/raw, then fovea doctor" in capsys.readouterr().out
    write(Path(), RESULTS)
    refused(photos, r"^this folder has other images than the demo's, .*Received: data/raw/cat/1")


def test_images_of_others_that_only_dvc_knows_of_stop_it(fresh: Path) -> None:
    write(RAW, {"cat/1.png": b"mine"})
    dvc("add", "--quiet", str(RAW))
    shutil.rmtree(RAW)  # as in a clone before `dvc pull`
    refused(photos, r"Received: data/raw\.dvc, which names other images$")
    Path(f"{RAW}.dvc").write_text("outs: [{path: raw, md5: 0123.dir}]\n")  # as DVC 2 wrote it
    refused(photos, r"Received: data/raw\.dvc, which names other images$")


def test_results_of_others_stop_it(demo: Path) -> None:
    Path("dvc.lock").write_text(LOCK.format(listing="0" * 32 + ".dir"))
    refused(photos, r"Received: dvc\.lock, which has results of other images$")


def test_results_of_unknown_images_stop_it_and_stay(demo: Path) -> None:
    shutil.rmtree(RAW)
    for name in (f"{RAW}.dvc", "dvc.lock"):
        Path(name).unlink()
    before = read(Path("data"))
    refused(photos, r"nothing shows from which images they were made; .*Received: data/")
    assert read(Path("data")) == before


def test_other_files_in_the_folder_of_a_stage_stay(demo: Path) -> None:
    write(Path(), {"data/train/my-notes.txt": b"mine"})
    photos()
    assert read(Path("data/train")) == {"my-notes.txt": b"mine"}


def test_a_lock_that_cannot_be_read_stops_it(demo: Path) -> None:
    Path("dvc.lock").write_text("x: [")
    refused(photos, r"Received: dvc\.lock, which cannot be read$")
    assert RAW.exists()


@pytest.mark.parametrize("text", ["stages: [", "", "a: 1", "stages: {train: 3}"])
def test_a_dvc_yaml_without_stages_is_one_sentence(text: str, demo: Path) -> None:
    Path("dvc.yaml").write_text(text)
    refused(photos, r"^dvc\.yaml must name stages and their outputs; .*Received: ")


def test_an_empty_file_that_a_killed_dvc_left_stops_nothing(fresh: Path) -> None:
    write(Path(), {f"{RAW}.dvc": b""})
    photos()
    assert not Path(f"{RAW}.dvc").exists()


def test_what_a_killed_init_left_is_removed_by_the_next(demo: Path) -> None:
    for path in sorted(RAW.rglob("*.png"))[::2]:
        path.unlink()
    Path(f"{RAW}.dvc").unlink()
    photos()
    assert not RAW.exists()
    assert not Path("dvc.lock").exists()


def test_without_a_terminal_it_asks_for_yes_and_changes_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        refused(lambda: photos(agreed=False), r"--yes .*Received: no terminal")
        nameless = partial(init, "photos", "standard", None, "", gpu=False, agreed=True)
        refused(nameless, r"--name .*Received: no --name")


def test_on_a_terminal_it_asks_for_a_name_lists_what_goes_and_takes_no_for_an_answer(
    demo: Path,
) -> None:
    before = files()
    status, shown = fovea("birds\nn\n")
    assert status == 1, shown
    assert files() == before
    assert "Name of the model" in shown
    outputs = ("data/ingest/manifest.parquet", "data/validate/docs")
    for path in (RAW, f"{RAW}.dvc", "dvc.lock", *outputs):
        assert f"  {path}\n" in shown
    assert "Traceback" not in shown
    status, shown = fovea("birds\ny\n")
    assert status == 0, shown
    assert read_params(PARAMS).register_.name == "birds"
    assert not RAW.exists()


def test_changes_in_params_that_git_does_not_have_are_kept(demo: Path) -> None:
    PARAMS.write_text(PARAMS.read_text().replace("seed: 1 ", "seed: 7 "))
    changed = PARAMS.read_bytes()
    photos()
    assert Path("params.yaml.bak").read_bytes() == changed
    written = PARAMS.read_bytes()
    photos("owls")
    assert Path("params.yaml.bak").read_bytes() == changed
    assert Path("params.yaml.bak2").read_bytes() == written


def test_committed_params_need_no_copy(demo: Path) -> None:
    PARAMS.write_text(PARAMS.read_text().replace("seed: 1 ", "seed: 7 "))
    commit("another seed")
    photos()
    assert list(Path().glob("params.yaml?*")) == []


def test_an_unpacked_archive_without_git_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    PARAMS.write_text("seed: 7\n")
    write(RAW, dict(list(digits())[:3]))
    photos()
    assert Path("params.yaml.bak").read_text() == "seed: 7\n"
    assert not RAW.exists()


def test_it_runs_beside_dvc_yaml_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(photos, r"^run from the repository's root, .*Received: ")


def test_floors_and_sizes_for_a_gpu_reach_the_params(tmp_path: Path) -> None:
    text = card_text("photos", "standard", "birds", "accuracy=0.9, recall=0.6", gpu=True)
    (tmp_path / "params.yaml").write_text(text)
    tree = read_params(tmp_path / "params.yaml")
    floors = tree.register_.floors
    assert (floors.accuracy, floors.balanced_accuracy, floors.recall) == (0.9, 0.8, 0.6)
    assert (tree.model.width, tree.train.batch_size) == (1.0, 128)
    # Only values have changed: every comment is where it was, after the lines about the GPU.
    assert GPU_TOP + "# Preset standard" in text
    comments = [line.partition(" #")[2] for line in text.replace(GPU_TOP, "").splitlines()]
    assert comments == [line.partition(" #")[2] for line in PHOTOS.read_text().splitlines()]


def test_a_card_for_a_gpu_has_the_values_of_its_preset() -> None:
    for preset, found in PRESETS.items():
        text = card_text("photos", preset, None, "", gpu=True)
        assert GPU_TOP in text
        changed = re.findall(r"; preset standard: |# preset standard: ", text)
        assert len(changed) == len(found.values)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_card_with_a_few_values_and_says_which(preset: str, tmp_path: Path) -> None:
    text = card_text("photos", preset, None, "", gpu=False)
    (tmp_path / "params.yaml").write_text(text)
    values = PRESETS[preset].values
    params = read_params(tmp_path / "params.yaml")
    standard = read_params(PHOTOS)
    hyperparameters = Hyperparameters(model=params.model, train=params.train)
    for key, value in values.items():
        assert hyperparameters.value(key) == value
    # Without these values, and the paragraph at the top, it is the card line by line.
    _, top, below = text.split("\n#\n", 3)[1:]
    _, _, card = PHOTOS.read_text().split("\n#\n", 3)[1:]
    assert top.startswith(f"# Preset {preset}")
    pairs = zip(below.splitlines(), card.splitlines(), strict=True)
    changed = [(ours, line) for ours, line in pairs if ours != line]
    assert len(changed) == len(values)
    assert all(re.search(r"# .*preset standard: \S+$", ours) for ours, _ in changed)
    same = params.model_copy(update={"model": standard.model, "train": standard.train})
    assert same == standard


def test_presets_take_longer_from_quick_to_best(tmp_path: Path) -> None:
    for gpu in (False, True):
        epochs = []
        for preset in PRESETS:
            path = tmp_path / f"{preset}.yaml"
            path.write_text(card_text("photos", preset, None, "", gpu))
            epochs.append(read_params(path).train.finetune.epochs)
        assert epochs == sorted(set(epochs))


def test_the_command_knows_the_presets() -> None:
    from pipelines.commands.fovea import Preset

    assert [preset.value for preset in Preset] == list(PRESETS)


@pytest.mark.parametrize("name", ["2026", "true", "1e3", "b", "a.b-c_d"])
def test_a_name_stays_the_name_that_was_given(name: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(card_text("photos", "standard", name, "", gpu=False))
    assert read_params(path).register_.name == name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("photos", "standard", "my birds", "", False),
            r"^register\.name: .*Received: 'my birds'$",
        ),
        (
            ("photos", "standard", "birds", "recall=2", False),
            r"^register\.floors\.recall .*Received: 2\.0$",
        ),
        (
            ("photos", "standard", "birds", "f1=0.2", False),
            r"^register\.floors\.f1 is not a known key",
        ),
        (
            ("photos", "standard", "birds", "recall", False),
            r"names and numbers.*Received: 'recall'$",
        ),
        (
            ("digits", "best", None, "", False),
            r"--preset only with the card photos.*--preset best$",
        ),
        (
            ("digits", "standard", None, "", True),
            r"--gpu only with the card photos\. Received: --card digits",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence(
    options: tuple[str, str, str, str, bool], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        card_text(*options)


def test_an_installed_fovea_has_the_cards(tmp_path: Path) -> None:
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for card in (DIGITS, PHOTOS):
            assert archive.read(f"pipelines/commands/cards/{card.name}") == card.read_bytes()
