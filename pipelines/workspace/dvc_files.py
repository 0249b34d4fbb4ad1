"""What DVC recorded (data/raw.dvc, dvc.lock, its cache) → paths and the md5 of their content.

The files of DVC are read and DVC itself is not started: that takes milliseconds and no lock, so it
also works during `dvc repro`.
"""

import configparser
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from components.errors import UserError, one_line

log = logging.getLogger(__name__)

# The C parser, where there is one, reads dvc.lock thirty times as fast.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = ".dir"  # the ending of a listing's name; a listing names the files of a folder


def recorded_files(folder: Path) -> dict[str, str] | None:
    """Return POSIX path below `folder` → md5, as `<folder>.dvc` says; None without such a file.

    None, and a warning, also where that file is empty, and where the listing of the folder is not
    in DVC's cache, for example because images were copied here by hand: the run can go on.

    Runs from the repository's root. Takes no lock and starts no process.
    Raises UserError where `<folder>.dvc` is torn, or the listing is damaged: its md5 is its name.
    """
    name = listing_name(folder)
    if name is None:
        return None
    if not object_path(name).exists():
        log.warning(
            f"DVC's cache has no listing of {folder}, so its files are not compared with it; "
            f"`dvc fetch` or `dvc add {folder}` brings the listing back"
        )
        return None
    return read_listing(name)


def listing_name(folder: Path) -> str | None:
    """Return the name of the listing, `<32 hex digits>.dir`, that `<folder>.dvc` holds, or None."""
    tracked = Path(f"{folder}.dvc")
    try:
        text = tracked.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    if not text.strip():  # `dvc repro` writes the file each time, and not in one step
        log.warning(
            f"{tracked} is empty, as a DVC that was killed leaves it, so the images in {folder} "
            f"are not compared with it; `git checkout {tracked}` or `dvc add {folder}` brings it "
            "back"
        )
        return None
    name = listing_name_in(text)
    if name is None:
        raise UserError(
            f"{tracked} names no folder as DVC 3 does; bring it back with git, or run "
            f"`dvc add {folder}`. Received: {one_line(text, longest=100)!r}"
        )
    return name


def listing_name_in(text: str) -> str | None:
    """Return the name of the listing that the text of a .dvc file holds, or None."""
    outs = parse(text).get("outs")
    out = outs[0] if isinstance(outs, list) and outs and isinstance(outs[0], dict) else {}
    name = out.get("md5")
    # Without `hash: md5` it was written by DVC 2, which hashed text in another way.
    by_dvc_3 = isinstance(name, str) and name.endswith(FOLDER) and out.get("hash") == "md5"
    return name if by_dvc_3 else None


def added_outs(text: str) -> dict[str, str]:
    """Return path → md5 of what the text of a .dvc file names, written by any version of DVC."""
    return _md5s(parse(text), "outs")


def outs_in_lock(text: str) -> dict[str, str]:
    """Return path → md5 of the outs of all stages in the text of a dvc.lock."""
    stages = _stages(text).values()
    return {path: md5 for stage in stages for path, md5 in _md5s(stage, "outs").items()}


def stage_files(text: str, stage: str, kind: Literal["deps", "outs"]) -> dict[str, str]:
    """Return path → md5 of a stage's deps or outs in the text of a dvc.lock."""
    return _md5s(_stages(text).get(stage), kind)


def read_listing(name: str) -> dict[str, str]:
    """Return the files of a folder as DVC's cache lists them: POSIX path → md5.

    Raises UserError where the listing `name` is not in the cache, or is damaged.
    """
    content = read_object(name)
    if content is None:
        path = object_path(name)
        problem = "is damaged" if path.is_file() else "is not"
        raise UserError(
            f"DVC's listing of a folder {problem} in its cache; `dvc fetch` brings one that is "
            f"missing, `fovea data verify --heal` repairs a damaged one, too. Received: {path}"
        )
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def read_object(name: str) -> bytes | None:
    """Return the content of an object of the cache, or None where it is missing or damaged."""
    try:
        content = object_path(name).read_bytes()
    except OSError:
        return None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return content if md5 == name.removesuffix(FOLDER) else None


def listing_bytes(files: Mapping[str, str]) -> bytes:
    """Return the listing of a folder, POSIX path → md5, byte for byte as DVC writes it."""
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def object_path(name: str) -> Path:
    """Return where the cache has the content with this md5, or the listing with this name."""
    return cache_folder() / "files/md5" / name[:2] / name[2:]


def cache_folder() -> Path:
    """Return the folder of DVC's cache, as DVC's config files say.

    The files are those of the system, the user, the repository and this clone; a later one
    overrides an earlier one. Equals `dvc cache dir`, which takes half a second to start.
    """
    folder = Path(".dvc/cache")
    for file in _config_files():
        config = configparser.ConfigParser(
            interpolation=None, strict=False, inline_comment_prefixes=("#",)
        )
        try:
            lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
            config.read_string("\n".join(lines))
        except (OSError, UnicodeError, configparser.Error):
            continue
        value = config.get("cache", "dir", fallback="").strip("\"'")
        if value:
            folder = file.parent / Path(value).expanduser()
    return folder


def read_text(path: Path) -> str:
    """Return a file's text; empty where it is missing, not readable or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""


def parse(text: str) -> dict[str, Any]:
    """Return the mapping that a YAML or JSON text holds; empty where it holds none, as if torn."""
    try:
        tree = yaml.load(text, Loader=YAML_LOADER)
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _config_files() -> Iterator[Path]:
    import platformdirs  # DVC finds its config with it, too

    system = platformdirs.site_config_dir("dvc", "iterative")
    user = platformdirs.user_config_dir("dvc", "iterative")
    yield Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or system) / "config"
    yield Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or user) / "config"
    yield Path(".dvc/config")
    yield Path(".dvc/config.local")


def _stages(text: str) -> dict[str, Any]:
    stages = parse(text).get("stages")
    return stages if isinstance(stages, dict) else {}


def _md5s(stage: Any, kind: str) -> dict[str, str]:
    rows = stage.get(kind) if isinstance(stage, dict) else None
    valid = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {str(row.get("path")): str(row["md5"]) for row in valid if row.get("md5")}
