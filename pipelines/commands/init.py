"""The workspace of the demo → an empty workspace for other images, with a new params.yaml.

The demo's images are the digits of `fovea sample digits`. `fovea init` removes data/raw,
data/raw.dvc, dvc.lock and the outputs of the stages that dvc.yaml names. Other files stay.

If the user's images are already in data/raw, and DVC does not track them and there are no results
yet, only params.yaml is written. Otherwise `fovea init` changes nothing if data/raw has other
images than the digits, if data/raw.dvc or dvc.lock names other images, or if there are outputs of
stages but neither data/raw nor data/raw.dvc nor dvc.lock. So everything that it removes can be made
again by `fovea sample digits` and `dvc repro`. data/raw and data/raw.dvc are removed last. If
`fovea init` is killed, the next `fovea init` still finds one of these two paths, and removes the
rest.

A card is a params.yaml that is ready to use.
"""

import hashlib
import itertools
import logging
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer
import yaml

from components.errors import UserError, one_line
from components.files import write_whole
from components.sources.dvc_cache import linked_object
from components.sources.listing import is_junk
from pipelines.artifacts import RAW
from pipelines.commands.card import FOLDER, card_text
from pipelines.commands.console import show_lines
from pipelines.commands.sample import digits
from pipelines.workspace import dvc_files, locks
from pipelines.workspace.git import GitError, git, reason

log = logging.getLogger(__name__)

PARAMS = Path("params.yaml")
DAG = Path("dvc.yaml")
LOCK = Path("dvc.lock")
OUTS = ("outs", "metrics", "plots")
TRACKED = Path(f"{RAW}.dvc")
NAMES = {"photos": "the card for photographs", "digits": "the demo's card"}


def init(card: str, preset: str, name: str | None, floors: str, gpu: bool, agreed: bool) -> None:
    """Write params.yaml from a card; for photographs, then remove the demo's images and results.

    card: `photos` or `digits`. name: the name of the registered model. With None, the card
    `digits` keeps its own name, and for `photos` the user is asked. preset, floors, gpu: see
    `card_text`.
    agreed: remove and replace files without asking the user.
    If params.yaml has uncommitted changes, it is first copied to params.yaml.bak. If the file
    params.yaml.bak already has other content, the copy gets another name, such as params.yaml.bak2.
    Raises UserError if the current folder is not the root of a repository, if the workspace has
    other images than the demo's, if a value breaks a rule, if the user answers no, if the user must
    be asked but there is no terminal, or if a git command fails. After these errors, no image or
    result is removed.
    """
    if not DAG.is_file():
        raise UserError(f"run from the repository's root, which has {DAG}. Received: {Path.cwd()}")
    if PARAMS.exists() and not PARAMS.is_file():
        raise UserError(f"{PARAMS} must be a file; move it away. Received: a folder or a device")
    with locks.hold(Path(), "fovea init"):
        leaving = _demo_paths() if card == "photos" else []
        if name is None and card == "photos":
            name = _ask_name()
        text = card_text(card, preset, name, floors, gpu)
        backup = _backup_path(text)
        if leaving or backup is not None:
            show_lines(*_effects(leaving, card, backup))
            if not agreed:
                _ask()
        if backup is not None:
            _write(backup, PARAMS.read_bytes())
        # params.yaml is written first. So if the disk is full, nothing is removed.
        _write(PARAMS, text.encode())
        _remove(leaving)
    log.info(f"{PARAMS} is now {NAMES[card]}; next: {_next_steps(card, bool(leaving))}")


def _ask_name() -> str:
    if not sys.stdin.isatty():
        raise UserError(
            "the model needs a name in the registry; add --name, such as --name birds. "
            "Received: no --name, and no terminal to ask the user"
        )
    return str(typer.prompt("Name of the model in the registry, such as birds"))


def _demo_paths() -> list[Path]:
    """Return the paths to remove: outputs of stages, dvc.lock, data/raw, data/raw.dvc.

    The paths are in the order in which they must be removed. Paths that do not exist are left out.
    The result is empty if the user's images are already in data/raw, and nothing else was done yet.
    Raises UserError if data/raw has other images than the demo's, if data/raw.dvc or dvc.lock names
    other images, or if there are outputs of stages, but none of these three paths.
    """
    others = _other_images()
    done = (LOCK, TRACKED, *_outputs())
    if others is not None and not any(path.exists() or path.is_symlink() for path in done):
        return []
    if others is not None:
        raise UserError(
            "this folder has other images than the demo's, and `fovea init` does not remove them; "
            f"edit {PARAMS} yourself, or use another clone. Received: {others}"
        )
    outputs = [path for path in _outputs() if path.exists() or path.is_symlink()]
    images = [path for path in (LOCK, RAW, TRACKED) if path.exists()]
    if outputs and not images:
        raise UserError(
            "there are results of stages, but nothing shows from which images they were made; move "
            f"the results away and run `fovea init` again. Received: {outputs[0]}"
        )
    return [*outputs, *images]


def _outputs() -> list[Path]:
    """Return the paths of all outputs in dvc.yaml. Raises UserError if the file is not valid."""
    try:
        stages = yaml.safe_load(DAG.read_text(encoding="utf-8"))["stages"].values()
        outs = [out for stage in stages for key in OUTS for out in stage.get(key, [])]
        # An out with options, such as `persist`, is a mapping from its path to the options.
        return [Path(out if isinstance(out, str) else next(iter(out))) for out in outs]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{DAG} must name stages and their outputs; restore it with git. "
            f"Received: {one_line(error)}"
        ) from None


def _other_images() -> str | None:
    """Return a text that names a path with other images than the demo's, or None."""
    demo = {path: _md5(content) for path, content in digits()}
    if RAW.is_symlink() or RAW.is_file():
        return f"{RAW} is a link or a file"
    files = [path for path in sorted(RAW.rglob("*")) if path.is_symlink() or not path.is_dir()]
    for path in files:
        name = path.relative_to(RAW).as_posix()
        by_dvc = not path.is_symlink() or linked_object(path) is not None
        known = path.is_file() and by_dvc and name in demo
        if not (known and _md5(path.read_bytes()) == demo[name]) and not is_junk(name):
            return str(path)
    listing = _md5(dvc_files.listing_bytes(demo)) + dvc_files.FOLDER
    # If DVC is killed while it writes data/raw.dvc, the file can be empty. An empty file names no
    # images.
    if _text(TRACKED).strip() and dvc_files.listing_name_in(_text(TRACKED)) != listing:
        return f"{TRACKED}, which names other images"
    if _text(LOCK).strip() and not dvc_files.parse(_text(LOCK)):
        return f"{LOCK}, which cannot be read"
    if dvc_files.stage_files(_text(LOCK), "ingest", "deps").get(str(RAW), listing) != listing:
        return f"{LOCK}, which has results of other images"
    return None


def _backup_path(text: str) -> Path | None:
    """Return the path to which params.yaml must be copied; None if no copy is needed.

    text: the new text of params.yaml. No copy is needed if params.yaml is missing, if it already
    has this text or the text of a card, or if git has it without changes.
    """
    if not PARAMS.is_file():
        return None
    now = PARAMS.read_bytes()
    if now in (text.encode(), *(card.read_bytes() for card in FOLDER.glob("*.yaml"))):
        return None
    # `git status` prints nothing if params.yaml has no uncommitted changes.
    if _git("status", "--porcelain", "--", str(PARAMS)) == "":
        return None
    names = itertools.chain([".bak"], (f".bak{number}" for number in itertools.count(2)))
    copies = (PARAMS.with_name(f"{PARAMS}{name}") for name in names)
    return next(path for path in copies if not path.exists() or path.read_bytes() == now)


def _effects(leaving: Sequence[Path], card: str, backup: Path | None) -> list[str]:
    lines = [f"{PARAMS} will be replaced by {NAMES[card]}"]
    if backup is not None:
        lines.append(f"{PARAMS} has uncommitted changes, so it will first be copied to {backup}")
    if leaving:
        lines.append("the demo's images and results will be removed, also from git's index:")
        lines += [f"  {path}" for path in leaving]
    return lines


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UserError(
            "nothing was changed, because the user must be asked first; add --yes to change these "
            "files without a question. Received: no terminal to ask the user"
        )
    if not typer.confirm("Go on?"):
        raise UserError("nothing was changed. Received: no")


def _remove(paths: Sequence[Path]) -> None:
    if paths:
        names = map(str, paths)
        _git("rm", "-r", "--cached", "--force", "--quiet", "--ignore-unmatch", "--", *names)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        with suppress(OSError):  # The folder of a stage stays if it has other files.
            if path.parent.parent == RAW.parent:
                path.parent.rmdir()


def _write(path: Path, content: bytes) -> None:
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _git(*arguments: str) -> str | None:
    """Return what git prints. Return None if git does not work here, for example if it is missing.

    Raises UserError if git works but the command fails.
    """
    try:
        done = git(*arguments)
    except GitError:
        return None
    if done.returncode != 0:
        raise UserError(f"`git {arguments[0]}` fails; fix this error. Received: {reason(done)}")
    return done.stdout


def _next_steps(card: str, removed: bool) -> str:
    if card == "photos" and RAW.is_dir() and not removed:
        return f"dvc add {RAW}, then fovea doctor"
    if card == "photos":
        return "fovea data add FOLDER_OR_ARCHIVE, then fovea doctor"
    return "dvc repro" if RAW.is_dir() else "fovea sample digits, then dvc repro"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
