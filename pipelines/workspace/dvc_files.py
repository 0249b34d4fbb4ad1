"""What DVC recorded (data/raw.dvc, dvc.lock, its cache) → paths and the md5 of their content.

DVC is not asked but read: that takes milliseconds and no lock, so it works inside of `dvc repro`.
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
FOLDER = ".dir"  # what the name of a listing ends with


def recorded(folder: Path) -> dict[str, str] | None:
    """Return POSIX path below `folder` → md5, as `<folder>.dvc` says; None without such a file.

    None, and a line that says so, also where that file is empty, and where DVC's cache has not the
    listing of the folder, as where images were copied here by hand: DVC can go on then, and so can
    we.

    Runs from the repository's root. Takes no lock and starts no process.
    Raises UserError where `<folder>.dvc` is torn, or the listing is damaged: its md5 is its name.
    """
    added = folder_md5(folder)
    if added is None:
        return None
    if not object_path(added).exists():
        log.info(
            f"DVC's cache has no listing of {folder}, so its files are not held against it; "
            f"`dvc fetch` or `dvc add {folder}` mends that"
        )
        return None
    return listing(added)


def folder_md5(folder: Path) -> str | None:
    """Return the name of the listing, `<32 hex digits>.dir`, that `<folder>.dvc` holds, or None."""
    tracked = Path(f"{folder}.dvc")
    try:
        text = tracked.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    if not text.strip():  # DVC writes it anew on each `dvc repro`, not in one step
        log.info(
            f"{tracked} is empty, as a DVC that was killed leaves it, so {folder} is not held "
            f"against it; `git checkout {tracked}` or `dvc add {folder}` brings it back"
        )
        return None
    added = added_md5(text)
    if added is None:
        raise UserError(
            f"{tracked} names no folder as DVC 3 does; bring it back with git, or run "
            f"`dvc add {folder}`. Received: {one_line(text, longest=100)!r}"
        )
    return added


def added_md5(text: str) -> str | None:
    """Return the name of the listing that the text of a .dvc file holds, or None."""
    outs = parse(text).get("outs")
    out = outs[0] if isinstance(outs, list) and outs and isinstance(outs[0], dict) else {}
    name = out.get("md5")
    # Without `hash: md5` it was written by DVC 2, which hashed text another way.
    known = isinstance(name, str) and name.endswith(FOLDER) and out.get("hash") == "md5"
    return name if known else None


def added_outs(text: str) -> dict[str, str]:
    """Return path → md5 of what the text of a .dvc file names, written by any version of DVC."""
    return _md5s(parse(text), "outs")


def locked_outs(text: str) -> dict[str, str]:
    """Return path → md5 of what all stages wrote, as the text of a dvc.lock says."""
    stages = _stages(text).values()
    return {path: md5 for stage in stages for path, md5 in _md5s(stage, "outs").items()}


def locked(text: str, stage: str, kind: Literal["deps", "outs"]) -> dict[str, str]:
    """Return path → md5 of a stage's deps or outs in the text of a dvc.lock."""
    return _md5s(_stages(text).get(stage), kind)


def listing(name: str) -> dict[str, str]:
    """Return the files of a folder as DVC's cache lists them: POSIX path → md5.

    Raises UserError where the listing `name` is not in the cache, or is damaged.
    """
    content = cached(name)
    if content is None:
        path = object_path(name)
        found = "is damaged" if path.is_file() else "is not"
        raise UserError(
            f"DVC's listing of a folder {found} in its cache; `dvc fetch` brings one that is "
            f"missing, `fovea data verify --heal` mends either. Received: {path}"
        )
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def cached(name: str) -> bytes | None:
    """Return the content of an object of the cache, or None where it is missing or damaged."""
    try:
        content = object_path(name).read_bytes()
    except OSError:
        return None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return content if found == name.removesuffix(FOLDER) else None


def listing_bytes(files: Mapping[str, str]) -> bytes:
    """Return the listing of a folder, POSIX path → md5, byte for byte as DVC writes it."""
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()


def object_path(name: str) -> Path:
    """Return where the cache has the content with this md5, or the listing with this name."""
    return cache_folder() / "files/md5" / name[:2] / name[2:]


def cache_folder() -> Path:
    """Return DVC's cache, as its config says: system, global, repository, local; the last wins.

    Equals `dvc cache dir`, which takes half a second to start.
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
        named = config.get("cache", "dir", fallback="").strip("\"'")
        if named:
            folder = file.parent / Path(named).expanduser()
    return folder


def read_text(path: Path) -> str:
    """Return a file's text; empty where it is missing, closed to us or not UTF-8."""
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
    import platformdirs  # what DVC asks

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
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {str(row.get("path")): str(row["md5"]) for row in known if row.get("md5")}
