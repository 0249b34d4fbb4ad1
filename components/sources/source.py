"""The folder data/raw → the list of its pictures with their labels.

The folder is called the source. There are four kinds of sources: class_folders, split_folders,
table and arrays.
"""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from components.errors import UserError
from components.images.fault import Fault
from components.images.signatures import is_read, name_format, way_out
from components.params.ingest import Source
from components.params.split import SPLITS
from components.sources.arrays import array_entries, array_file
from components.sources.folders import class_folders, split_folders
from components.sources.kinds import (
    ARRAYS,
    check_unpacked,
    guess_kind,
    only_table,
    table_advice,
)
from components.sources.listing import (
    EXTENSIONS,
    Entry,
    Listing,
    check_labels,
    is_image,
    is_junk,
)
from components.sources.tables import check_slashes, read_table
from components.sources.tree import Tree, open_plain, scan
from components.words import count_text, name_list, printable

PEEKED = 20  # the maximum number of ignored files whose first bytes are read


def open_source(root: Path, params: Source) -> Listing:
    """List every picture below `root` with its label. No picture is read.

    root: the folder of the source.
    params: the params `ingest.source`.

    Raises UserError if the folder is missing, if it has no pictures or fewer than two labels, or if
    it is not a source of the kind that the params ask for. Also raises UserError if the kind is
    `auto` and two kinds are possible.
    """
    if not root.is_dir():
        raise UserError(
            f"the folder {root} for the images is missing; if there is a file {root}.dvc, run "
            "`dvc checkout` or `dvc pull`; if not, create the folder with one folder per class, or "
            f"try `fovea sample digits`. Received: {root} does not exist"
        )
    tree = scan(root)
    check_unpacked(root, tree)
    kind = guess_kind(root, tree) if params.kind == "auto" else params.kind
    if kind.endswith("folders"):
        return _folders(root, tree, params, kind)
    if params.group != "none":
        raise UserError(
            "ingest.source.group is only for class_folders and split_folders; set it to none, and "
            "for a table write the name of its column of groups into ingest.source.columns.group. "
            f"Received: {params.group} for {kind}"
        )
    return _table(root, tree, params) if kind == "table" else _arrays(root, tree)


def _folders(root: Path, tree: Tree, params: Source, kind: str) -> Listing:
    advice = table_advice(tree)
    layout = f"put one folder per class, with its images, into {root}{advice}"
    read = split_folders if kind == "split_folders" else class_folders
    entries, tops = read(tree, params.group), tree.top_folders()
    images = {entry.path for entry in entries}
    ignored = [path for path in tree.files if path not in images]
    if not tops:
        others = [path for path in ignored if not is_junk(path)]
        named = f", and {name_list(others)}" if others else ""
        raise UserError(
            f"there is no class folder; {'; '.join([layout, *_hidden_images(root, others)])}. "
            f"Received: {len(entries)} images, 0 folders{named}"
        )
    hidden = _hidden_images(root, [path for path in ignored if "/" in path])
    if not entries:
        kinds = ", ".join(sorted(extension[1:] for extension in EXTENSIONS))
        advice = hidden[0] if hidden else layout
        raise UserError(
            f"there is no image ({kinds}); {advice}. Received: {len(tops)} folders without images"
        )
    if kind == "split_folders":
        layout = f"put one folder per class, with its images, into {root}/train{advice}"
    check_labels(entries, layout + _inner_folders(tree, tops))
    notes = [_summary(kind.replace("_", " "), entries), *_ignored_notes(ignored), *hidden]
    return _listing(kind, tree, entries, ignored, notes)


def _inner_folders(tree: Tree, tops: Sequence[str]) -> str:
    """Return a part of an error message if the only folder at the top may hold the class folders.

    Example: the images are in data/raw/photos/cat and data/raw/photos/dog. Then photos counts as
    the only class.
    """
    inner = [path for path in tree.folders if path.count("/") == 1 and not is_junk(path)]
    if len(tops) != 1 or not inner:
        return ""
    return f"; if the classes are {name_list(inner)}, move these folders to the top"


def _table(root: Path, tree: Tree, params: Source) -> Listing:
    name = only_table(root, tree)
    files = {*tree.files}
    table = read_table(root, name, params.columns, files)
    listed = {entry.path for entry in table.entries}
    check_slashes(root / name, listed, files)
    if not tree.closed and not any(path in files or array_file(path) for path in listed):
        raise UserError(
            f"none of the files that {root / name} lists exists; write paths relative to {root}. "
            f"Received: {printable(table.entries[0].path)}"
        )
    check_labels(table.entries, f"list images of two classes or more in {root / name}")
    ignored = [path for path in tree.files if path not in listed and path != name]
    notes = [_summary(f"table {name}", table.entries), *table.notes]
    if unlisted := [path for path in ignored if is_image(path) and not is_junk(path)]:
        names = name_list(unlisted)
        images = count_text(len(unlisted), "image is", "images are")
        notes.append(f"{images} not listed in {name} and therefore left out ({names})")
    others = [path for path in ignored if not is_image(path) or is_junk(path)]
    notes += _ignored_notes(others)
    return _listing("table", tree, table.entries, ignored, notes, table.columns)


def _arrays(root: Path, tree: Tree) -> Listing:
    entries, notes = array_entries(root, tree)
    check_labels(entries, "save arrays with two labels or more")
    ignored = [path for path in tree.files if path not in tree.top(*ARRAYS)]
    notes = [_summary("arrays", entries), *notes, *_ignored_notes(ignored)]
    return _listing("arrays", tree, entries, ignored, notes)


def _listing(
    kind: str,
    tree: Tree,
    entries: Sequence[Entry],
    ignored: Sequence[str],
    notes: Sequence[str],
    columns: tuple[str, ...] = (),
) -> Listing:
    folders = frozenset({"", *tree.folders})
    return Listing(kind, entries, tuple(ignored), columns, folders, tuple(notes))


def _summary(kind: str, entries: Sequence[Entry]) -> str:
    """Describe the source in one line for the log, so that the user can notice a wrong kind."""
    labels = {entry.label for entry in entries} - {""}
    splits = {entry.given_split for entry in entries}
    given = "".join(f", {split}" for split in SPLITS if split in splits)
    classes = count_text(len(labels), "class", "classes")
    return f"{kind} ({count_text(len(entries), 'image')}, {classes}{given})"


def _hidden_images(root: Path, names: Sequence[str]) -> list[str]:
    """Return a line for each format of images among the ignored files: what it is, what to do.

    names: the paths of files that are not listed as pictures. The first PEEKED of them are opened.
    Example: the files of medical devices often have no file extension.
    """
    first: dict[str, str] = {}
    for name in [name for name in names if not is_junk(name)][:PEEKED]:
        with suppress(Fault), open_plain(root, name) as file:
            found = name_format(os.read(file, 512))
            if found is not None and found != "npy":
                first.setdefault(found, name)
    ending = "it is an image; let its name end with"
    return [
        f"{printable(name)} is ignored: {f'{ending} .{kind}' if is_read(kind) else way_out(kind)}"
        for kind, name in first.items()
    ]


def _ignored_notes(names: Sequence[str]) -> list[str]:
    """Return at most two lines for the log: one about junk files, and one about all other files.

    Junk files are hidden files, and files that a file browser made, such as Thumbs.db.

    names: the paths of the files that are not listed as pictures.
    """
    junk = [name for name in names if is_junk(name)]
    others = [PurePosixPath(name) for name in sorted({*names} - {*junk})]
    notes = []
    if others:
        kinds = Counter(name.suffix or name.name for name in others)
        listed = name_list(f"{many} × {kind}" for kind, many in kinds.items())
        what = ("file is no picture of the source", "files are no pictures of the source")
        notes.append(f"{count_text(len(others), *what)}, so ignored ({listed})")
    if junk:
        files = count_text(len(junk), "file is", "files are")
        notes.append(f"{files} left out, hidden or made by a file browser ({name_list(junk)})")
    return notes
