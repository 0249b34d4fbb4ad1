"""The workspace of the demo → an empty workspace for other images, with a new params.yaml.

The demo's images are the digits of `fovea sample digits`. `fovea init` removes data/raw,
data/raw.dvc, dvc.lock and the outputs of the stages that dvc.yaml names. Other files stay. It
removes nothing if data/raw has other images than the digits, if data/raw.dvc or dvc.lock names
other images, or if nothing shows that the outputs are those of the digits. So `fovea sample digits`
and `dvc repro` can make the removed images and results again. The images are removed last. So if
`fovea init` is killed, the next `fovea init` knows that the rest is the demo's, and removes it.
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


def init(card: str, name: str | None, floors: str, gpu: bool, agreed: bool) -> None:
    """Write params.yaml from a card; for photographs, remove the demo's images and results first.

    card: `photos` or `digits`. name: the name of the registered model. If it is None, the card
    `digits` keeps its own name, and for `photos` the user is asked. floors, gpu: see `card_text`.
    agreed: remove and replace files without asking the user.
    If params.yaml has changes that git does not have, it is first copied to params.yaml.bak. If
    params.yaml.bak exists with other content, the copy gets another name, such as params.yaml.bak2.
    Raises UserError if the current folder is not the root of a repository, if the workspace has
    other images than the demo's, if a value breaks a rule, if the user answers no, if the user must
    be asked but there is no terminal, or if a git command fails. Nothing is removed then.
    """
    if not DAG.is_file():
        raise UserError(f"run from the repository's root, beside {DAG}. Received: {Path.cwd()}")
    if PARAMS.exists() and not PARAMS.is_file():
        raise UserError(f"{PARAMS} must be a file; move it away. Received: a folder or a device")
    with locks.hold(Path(), "fovea init"):
        leaving = _demo_paths() if card == "photos" else []
        if name is None and card == "photos":
            name = _ask_name()
        text = card_text(card, name, floors, gpu)
        backup = _backup_path(text)
        if leaving or backup is not None:
            show_lines(*_effects(leaving, card, backup))
            if not agreed:
                _ask()
        if backup is not None:
            _write(backup, PARAMS.read_bytes())
        _write(PARAMS, text.encode())  # first: if the disk is full, nothing is removed
        _remove(leaving)
    log.info(f"{PARAMS} is {NAMES[card]} now; next: {_next_steps(card)}")


def _ask_name() -> str:
    if not sys.stdin.isatty():
        raise UserError(
            "the model needs a name in the registry; give it with --name, such as --name birds. "
            "Received: no --name, and no terminal to ask on"
        )
    return str(typer.prompt("Name of the model in the registry, such as birds"))


def _demo_paths() -> list[Path]:
    """Return the paths to remove, in this order: outputs of stages, dvc.lock, data/raw, its .dvc.

    Paths that do not exist are left out. Raises UserError if data/raw has other images than the
    demo's, if data/raw.dvc or dvc.lock names other images, or if there are outputs of stages, but
    neither images nor these two files.
    """
    if (others := _other_images()) is not None:
        raise UserError(
            "this folder has other images than the demo's, which fovea init does not remove; edit "
            f"{PARAMS}, or use another clone. Received: {others}"
        )
    outputs = [path for path in _outputs() if path.exists() or path.is_symlink()]
    images = [path for path in (LOCK, RAW, TRACKED) if path.exists()]
    if outputs and not images:
        raise UserError(
            "there are results of stages, but nothing shows which images they are of; move them "
            f"away and run it again. Received: {outputs[0]}"
        )
    return [*outputs, *images]


def _outputs() -> list[Path]:
    """Return the paths of all outputs and metrics in dvc.yaml. Raises UserError on a bad file."""
    try:
        stages = yaml.safe_load(DAG.read_text(encoding="utf-8"))["stages"].values()
        return [Path(out) for stage in stages for key in OUTS for out in stage.get(key, [])]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{DAG} must name stages and their outputs; restore it with git. "
            f"Received: {one_line(error)}"
        ) from None


def _other_images() -> str | None:
    """Return a text that names a path with other images than the demo's; None if there is none."""
    demo = {path: _md5(content) for path, content in digits()}
    if RAW.is_symlink() or RAW.is_file():
        return f"{RAW} is a link or a file"
    files = [path for path in sorted(RAW.rglob("*")) if path.is_symlink() or not path.is_dir()]
    for path in files:
        name = path.relative_to(RAW).as_posix()
        known = path.is_file() and not path.is_symlink() and name in demo
        if not (known and _md5(path.read_bytes()) == demo[name]) and not is_junk(name):
            return str(path)
    listing = _md5(dvc_files.listing_bytes(demo)) + dvc_files.FOLDER
    # If DVC is killed while it writes data/raw.dvc, the file can be empty. Then it names no images.
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
    lines = [f"{PARAMS} becomes {NAMES[card]}"]
    if backup is not None:
        lines.append(
            f"{PARAMS} now has changes that git does not have; it is first copied to {backup}"
        )
    if leaving:
        lines.append("the demo's images and results are removed, also from git's index:")
        lines += [f"  {path}" for path in leaving]
    return lines


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UserError(
            "nothing was changed; run it again with --yes if that is what you want. "
            "Received: no terminal to ask on"
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
        with suppress(OSError):  # other files in the folder of a stage stay, and so does the folder
            if path.parent.parent == RAW.parent:
                path.parent.rmdir()


def _write(path: Path, content: bytes) -> None:
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _git(*arguments: str) -> str | None:
    """Return what git prints; None if git is not installed or this folder is in no repository.

    Raises UserError if git starts but its command fails.
    """
    try:
        done = git(*arguments)
    except GitError:
        return None
    if done.returncode != 0:
        raise UserError(f"git {arguments[0]} fails; fix that first. Received: {reason(done)}")
    return done.stdout


def _next_steps(card: str) -> str:
    if card == "photos":
        return "fovea data add FOLDER_OR_ARCHIVE, then fovea doctor"
    return "dvc repro" if RAW.is_dir() else "fovea sample digits, then dvc repro"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
