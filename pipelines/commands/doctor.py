"""A workspace → the results of checks that find what could stop a run, with advice to the user.

The workspace is the folder of dvc.yaml and params.yaml. No check changes images, params, results or
the git repository. If a check raises an error, the error is its finding. Two checks do the first
steps of a run, because this is the only way to find the errors of these steps: `mlflow` creates the
experiment in an existing store of MLflow, and `weights` downloads missing weights.
"""

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from components.errors import UserError
from components.model.backend import backend
from components.model.devices import VARIABLE as SPREAD
from components.params.ingest import Ingest
from components.params.reader import Params, read_params
from components.sources.dvc_cache import cache_folder, linked_object
from components.sources.listing import Listing
from components.words import count_text, printable, size_text
from pipelines import artifacts
from pipelines.commands.arrivals import is_utf8
from pipelines.commands.variables import DEVICES, other_variables, prefect_server
from pipelines.installed import differences, expected_versions
from pipelines.workspace import locks
from pipelines.workspace.environment import can_write
from pipelines.workspace.processes import DVC, capture, dvc_error
from pipelines.workspace.remote import ask_remote, default_remote

log = logging.getLogger(__name__)

Status = Literal["ok", "warn", "fail"]
TIMEOUT_S = 120
GIB = 2**30
COUNT_DEVICES = """
from components.model.backend import load_keras
from components.model.devices import on_devices
load_keras()
with on_devices({batch_size}, {accumulate}) as count:
    print(count)
"""
COUNT_GPUS = (
    "from components.model.backend import load_keras; load_keras(); "
    "from components.model.devices import gpu_names; print(len(gpu_names()))"
)
# The tag `git.commit` has one of these values if there is no repository or no commit.
NO_COMMIT = ("none (not a git repository)", "none (no commit yet)")
NO_IMAGES = (
    "run `fovea sample digits` (example images), `fovea data add` (your own images) or `dvc pull` "
    "(images that DVC tracks)"
)
MLFLOW_STORES = ("sqlite:", "http:", "https:", "postgresql", "mysql", "mssql", "databricks")


class ParamsError(UserError):
    """A mistake in params.yaml. Only the check `params` prints it; other checks refer to it."""


class ImagesError(UserError):
    """Images that cannot be listed. Only the check `data` prints why; other checks refer to it."""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    finding: what the check found. advice: what the user should do; empty if there is nothing to do,
    or if `finding` already says what to do.
    """

    name: str
    status: Status
    finding: str
    advice: str = ""


def examine(root: Path = Path()) -> Iterator[Check]:
    """Check the workspace at `root`; yield each result as soon as its check has ended."""
    if not any((root / name).is_file() for name in ("params.yaml", "dvc.yaml")):
        finding = f"neither params.yaml nor dvc.yaml in {root.absolute()}"
        yield Check("folder", "fail", finding, "run from the repository's root")
        return
    questions = _questions()
    # The checks run in threads, because some of them wait for other processes (DVC, TensorFlow).
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(_answer, name, questions[name], root) for name in questions]
        for answer in as_completed(answers):
            yield answer.result()


def _questions() -> dict[str, Callable[[Path], Check]]:
    """Return the checks by name."""
    return {
        "packages": _packages,
        "params": _params,
        "git": _git,
        "data": _data,
        "16 bits": _sixteen_bit,
        "dvc": _dvc,
        "remote": _remote,
        "disk": _disk,
        "locks": _locks,
        "mlflow": _mlflow,
        "records": _records,
        "champion": _champion,
        "prefect": lambda root: Check("prefect", "ok", prefect_server()),
        "variables": lambda root: Check("variables", "ok", other_variables()),
        "weights": _weights,
        "search": _search,
        "backend": _backend,
        "gpu": _gpu,
    }


def _answer(name: str, question: Callable[[Path], Check], root: Path) -> Check:
    try:
        return question(root)
    except ParamsError as error:
        if name != "params":
            return Check(name, "fail", "not checked, because params.yaml has a mistake; see params")
        return Check(name, "fail", str(error))
    except ImagesError as error:
        if name != "data":
            return Check(name, "fail", "not checked, because the images cannot be listed; see data")
        return Check(name, "fail", str(error), NO_IMAGES)
    except UserError as error:
        return Check(name, "fail", str(error))
    except Exception as error:
        finding = f"this check failed: {type(error).__name__}: {error}"
        return Check(
            name,
            "warn",
            finding,
            "read this error for the reason; it did not stop the other checks",
        )


def _packages(root: Path) -> Check:
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    other = [str(difference) for difference in differences(lock)]
    python = f"Python {platform.python_version()}"
    if not other:
        return Check(
            "packages",
            "ok",
            f"{python}, {len(expected_versions(lock))} packages as in requirements.lock",
        )
    more = f" and {len(other) - 3} more" if len(other) > 3 else ""
    return Check(
        "packages",
        "fail",
        f"{python}, {', '.join(other[:3])}{more}",
        "make set-up, or uv pip install --no-deps --require-hashes -r requirements.lock",
    )


def _params(root: Path) -> Check:
    from components.training.transforms import check_augmentation, doubtful_views

    params = _read(root)
    check_augmentation(params.train.augmentation, params.prepare.size)
    if doubt := doubtful_views(params.model.views, params.train.augmentation):
        return Check("params", "warn", doubt)
    return Check(
        "params", "ok", f"every value of {len(type(params).model_fields)} sections is valid"
    )


def _search(root: Path) -> Check:
    """Say what the stage `search` trains, and where its charts will be."""
    from components.params.hyperparameters import Hyperparameters
    from components.search.workload import in_words, parts

    params = _read(root)
    if not params.search.trials:
        return Check("search", "ok", "no search, because search.trials is 0")
    written = Hyperparameters(model=params.model, train=params.train)
    trained = in_words(parts(params.search, written))
    return Check("search", "ok", f"{trained}; {artifacts.STUDY_PAGE} will show them")


def _git(root: Path) -> Check:
    from pipelines.workspace.lineage import lineage

    tags = lineage(root)
    commit, dirty = tags["git.commit"], tags.get("git.dirty", "no")
    advice = (
        "you can start a run without a commit; its tag git.dirty then names the uncommitted files"
    )
    if commit.startswith("none") and commit not in NO_COMMIT:
        advice = (
            "fix the error that `git status` prints; until then, runs have no commit in their tags"
        )
        return Check("git", "warn", commit, advice)
    if commit in NO_COMMIT:
        advice = "git init && git add . && git commit; or `dvc config --local core.no_scm true`"
        return Check("git", "warn", commit, f"{advice}; DVC needs one of the two")
    if _run(root, *DVC, "config", "core.no_scm").stdout.strip() == "true":
        undo = "dvc config --local --unset core.no_scm"
        return Check("git", "warn", "DVC is set to work without git (core.no_scm)", undo)
    if dirty != "no":
        return Check("git", "warn", f"uncommitted changes: {dirty[5:]}", f"git commit ({advice})")
    return Check("git", "ok", f"clean at {commit[:12]}")


def _data(root: Path) -> Check:
    """Check that data/raw has images with labels, names in UTF-8, and no changes since `dvc add`.

    Links into DVC's cache are images. Other links are not read, so they are a finding.
    """
    raw = root / artifacts.RAW
    track = f"dvc add {artifacts.RAW}"
    params = _read(root)
    per_class = _images_per_class(root, params)
    finding = f"{per_class.total():,} images in {len(per_class)} classes"
    inside = list(raw.rglob("*"))
    if odd := sorted(str(path) for path in inside if not is_utf8(path.name)):
        names = count_text(len(odd), "name that is", "names that are")
        finding = f"{finding}, and {names} not UTF-8, such as {printable(odd[0])}"
        return Check("data", "fail", finding, "rename these files and folders; DVC cannot add them")
    if links := [path for path in inside if path.is_symlink() and not linked_object(path)]:
        first = links[0].relative_to(root)
        number = count_text(len(links), "link that does", "links that do")
        more = f"{number} not lead into DVC's cache, such as {first}"
        advice = (
            "replace each link by a file; `dvc add` would copy the target of the link. If DVC made "
            f"the links, `dvc checkout --relink {artifacts.RAW}.dvc` makes them again"
        )
        return Check("data", "fail", f"{finding}, and {more}", advice)
    if not raw.with_name("raw.dvc").is_file():
        return Check("data", "warn", f"{finding}, not tracked by DVC", f"{track} && git add data")
    state = _changed_outs(_dvc_status(root, "data/raw.dvc").get("data/raw.dvc", []))
    if "modified" in state or "new" in state:
        return Check("data", "warn", f"{finding}, changed since `{track}`", track)
    if state:
        advice = "dvc pull, or dvc add data/raw to track the current files"
        return Check("data", "fail", f"{finding}, but DVC reports: {', '.join(state)}", advice)
    return Check("data", "ok", f"{finding}, as tracked by DVC")


def _sixteen_bit(root: Path) -> Check:
    """Check that the rule for images of 16 bits fits their values, and propose a window."""
    from components.manifest.sixteen_bit import READ, sixteen_bit_values

    params = _read(root).ingest
    paths = [entry.path for entry in _listing(root, params).entries]
    values = sixteen_bit_values(root / artifacts.RAW, paths, params.decode, root / artifacts.STATE)
    if values is None:
        return Check("16 bits", "ok", f"no image of 16 bits among {min(READ, len(paths))} images")
    rule = params.decode.sixteen_bit
    if rule == "high_byte" and (finding := values.unused_bits()):
        return Check("16 bits", "warn", finding)
    finding = f"{count_text(values.images, 'image')}; the window {values.window} would fit"
    return Check("16 bits", "ok", finding)


def _images_per_class(root: Path, params: Params) -> Counter[str]:
    """Return label → number of images. Images without a label are not counted.

    Raises ImagesError if the images in data/raw cannot be listed.
    """
    entries = _listing(root, params.ingest).entries
    return Counter(entry.label for entry in entries if entry.label.strip())


def _listing(root: Path, params: Ingest) -> Listing:
    """List the images in data/raw. Raises ImagesError if they cannot be listed."""
    from components.sources.source import open_source

    try:
        return open_source(root / artifacts.RAW, params.source)
    except UserError as error:
        raise ImagesError(str(error)) from None


def _dvc(root: Path) -> Check:
    if not (root / ".dvc").is_dir():
        return Check("dvc", "fail", "no .dvc folder", "dvc init, in the root of the git repository")
    if busy := locks.holder(root) or locks.dvc_holder(root):
        return Check("dvc", "ok", f"running: {busy}")
    status = _dvc_status(root)
    stages = [name for name in status if not name.endswith(".dvc")]
    if stages:
        return Check("dvc", "ok", f"`dvc repro` will run {', '.join(stages)}")
    return Check("dvc", "ok", "every stage is up to date")


def _remote(root: Path) -> Check:
    """Check that DVC's default remote answers, if one is set."""
    if not (root / ".dvc").is_dir():
        return Check("remote", "warn", "not checked, because there is no .dvc folder; see dvc")
    name = default_remote(root)
    if not name:
        return Check("remote", "ok", "no default DVC remote is set, so `dvc push` needs a name")
    if ask_remote(name, root):
        return Check("remote", "ok", f"{name} answers")
    finding = f"the folder of the DVC remote {name} does not exist"
    advice = (
        "if it should exist, mount its disk, or correct the address with `dvc remote modify "
        f"{name} url URL`; `dvc push` creates a new folder"
    )
    return Check("remote", "warn", finding, advice)


def _dvc_status(root: Path, *targets: str) -> dict[str, Any]:
    """Return the output of `dvc status`: stage or .dvc file → list of its changes.

    targets: the stages or .dvc files to check; without targets, all. Raises UserError if DVC fails.
    """
    done = _run(root, *DVC, "--wait-for-lock", "status", "--json", *targets)
    if done.returncode != 0:
        reason = dvc_error(done.stderr)
        if "params.yaml" in reason:
            _read(root)  # The reader of params.yaml says it better than DVC.
        raise UserError(f"`dvc status` fails: {reason}")
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def _changed_outs(changes: list[Any]) -> set[str]:
    return {
        state
        for change in changes
        if isinstance(change, dict)
        for state in change.get("changed outs", {}).values()
    }


def _disk(root: Path) -> Check:
    """Check that the workspace can be written, and has space for the prepared arrays.

    The arrays are stored twice: in the workspace and in DVC's cache.
    """
    for folder in (root, root / "data", root / artifacts.STATE, root / ".dvc", cache_folder(root)):
        if not can_write(folder):
            advice = "correct the owner and the rights of this folder, or run as its owner"
            return Check("disk", "fail", f"you may not write into {folder.absolute()}", advice)
    params = _read(root)
    images = _images_per_class(root, params).total()
    need = 2 * images * params.prepare.size**2 * 3
    free = shutil.disk_usage(root).free
    finding = f"{size_text(free)} free, about {size_text(need)} needed for {images:,} images"
    if free > need + GIB:
        return Check("disk", "ok", finding)
    advice = "delete files (`dvc gc --workspace` removes old results), or make prepare.size smaller"
    return Check("disk", "fail" if free < need else "warn", finding, advice)


def _locks(root: Path) -> Check:
    if dead := locks.dead_rwlock(root):
        file = dead.relative_to(root)
        finding = f"a killed DVC left {file}; every later DVC command fails because of it"
        return Check("locks", "fail", finding, f"rm {file} (`fovea retrain` also removes it)")
    if busy := locks.holder(root) or locks.dvc_holder(root):
        return Check("locks", "warn", f"in use by {busy}", "wait until it ends, or stop it")
    return Check("locks", "ok", "no process uses this workspace")


def _mlflow(root: Path) -> Check:
    from components.tracking import connection

    where = connection.address()
    if not where.startswith(MLFLOW_STORES):
        advice = (
            "unset MLFLOW_TRACKING_URI to use an sqlite file here, or set it to a server's address"
        )
        return Check(
            "mlflow", "fail", f"MLflow 3 cannot use a plain folder as its store: {where}", advice
        )
    file = Path(connection.tracking_uri().removeprefix("sqlite:///"))
    if where.startswith("sqlite:") and not file.is_file():
        return Check("mlflow", "ok", f"{where}, which the first run creates")
    connection.connect()
    return Check("mlflow", "ok", f"{where} answers")


def _records(root: Path) -> Check:
    """Check that no record of an earlier run waits on the disk for MLflow."""
    from components.tracking.journal_files import FOLDER, count_waiting

    records, runs = count_waiting()
    if not records:
        return Check("records", "ok", "no record waits for MLflow")
    finding = f"{count_text(records, 'record')} of {count_text(runs, 'run')} in {FOLDER}"
    return Check("records", "warn", f"waiting for MLflow: {finding}", "fovea sync")


def _champion(root: Path) -> Check:
    """Check that no person has set the champion by hand, against the verdict on it."""
    from components.registry.hand_moves import champion_warning
    from components.registry.snapshot import read_snapshot
    from components.tracking.connection import sqlite_file

    name = _read(root).register_.name
    file = sqlite_file()
    if file is not None and not file.is_file():
        return Check("champion", "ok", f"no version of {name} yet")
    standing = read_snapshot(name, log.debug).standing
    if warning := champion_warning(standing):
        advice = "look at `fovea history`; `fovea promote` chooses another version"
        return Check("champion", "warn", warning, advice)
    if standing.held is None:
        return Check("champion", "ok", f"{name} has no champion yet")
    return Check("champion", "ok", f"version {standing.held} of {name}")


def _weights(root: Path) -> Check:
    from components.registry.model_checks import check_models

    params = _read(root)
    check_models(params)
    model, label_errors = params.model, params.validate_.label_errors
    finding = f"{model.backbone} starts from `{model.weights}`"
    if label_errors.backbone != "none":
        finding += f"; {label_errors.backbone} with `{label_errors.weights}` checks the labels"
    return Check("weights", "ok", finding)


def _backend(root: Path) -> Check:
    """Check that KERAS_BACKEND and FOVEA_DEVICES can be used.

    A backend takes seconds to start, so it is started only if FOVEA_DEVICES is set.
    """
    name = backend()
    finding = f"Keras computes with {name} {metadata.version(name)}"
    if not os.environ.get(SPREAD):
        return Check("backend", "ok", finding)
    train = _read(root).train
    values = {"batch_size": train.batch_size, "accumulate": train.accumulate}
    done = _run(root, sys.executable, "-c", COUNT_DEVICES.format(**values))
    if done.returncode:
        error = done.stderr.strip().splitlines()[-1]
        return Check("backend", "fail", error.removeprefix("components.errors.UserError: "))
    return Check("backend", "ok", f"{finding} on {count_text(int(done.stdout), 'device')}")


def _gpu(root: Path) -> Check:
    """Check that the backend of Keras sees the GPUs.

    A backend takes seconds to start, so it is started only if there is an NVIDIA driver.
    """
    name = backend()
    without = f"none; training runs on {os.cpu_count()} processor cores"
    if not Path("/proc/driver/nvidia/version").exists() and shutil.which("nvidia-smi") is None:
        return Check("gpu", "ok", without)
    words = _run(root, sys.executable, "-c", COUNT_GPUS).stdout.split()
    if words and words[-1] != "0":
        return Check("gpu", "ok", f"number of GPUs that {name} sees: {words[-1]}")
    if os.environ.get(DEVICES) is not None:
        chosen = f"{DEVICES}={os.environ[DEVICES]}"
        return Check("gpu", "warn", f"{chosen}, and {name} sees no GPU", f"unset {DEVICES}")
    extra = "gpu" if name == "tensorflow" else "jax-gpu"
    advice = f"pip install 'fovea[{extra}]', and check that the driver supports its CUDA"
    return Check("gpu", "warn", f"an NVIDIA driver, but {name} sees no GPU", advice)


def _read(root: Path) -> Params:
    try:
        return read_params(root / "params.yaml")
    except UserError as error:
        raise ParamsError(str(error)) from None


def _run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return capture(*command, root=root, timeout_s=TIMEOUT_S)
