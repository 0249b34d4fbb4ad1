"""The files in a folder → the kind of source, such as class_folders or table.

A source is a folder with images and their labels. The kind says how the labels are stored. If two
kinds are possible, the user must choose one.
"""

from collections import defaultdict
from pathlib import Path

from components.errors import UserError
from components.sources.listing import SPLITS_BY_WORD, is_image, is_junk
from components.sources.tree import Tree
from components.words import name_list

TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
# Files with these endings may contain labels, but are not read. They are named in error messages.
OTHER_TABLES = (".json", ".txt", ".xlsx", ".xls", ".ods", ".xml", ".yaml", ".yml", ".tab", ".dat")
ARRAYS = (".npz", ".npy")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def guess_kind(root: Path, tree: Tree) -> str:
    """Return the kind of source: class_folders, split_folders, table or arrays.

    root: the folder of the source, for the error message.
    tree: the paths below `root`.

    Raises UserError if two kinds are possible. With a wrong kind, the images could get wrong
    labels.
    """
    tables, arrays = tree.top(*TABLES), tree.top(*ARRAYS)
    if not tables and not arrays:
        return _kind_of_folders(root, tree)
    images = (path for path in tree.files if "/" in path and is_image(path) and not is_junk(path))
    classes = {path.split("/")[0] for path in images}
    folders = f"images in {name_list(classes)}"
    if tables and arrays:
        raise _ambiguity(root, ("table", "arrays"), name_list([*tables, *arrays]))
    # One folder with images beside a table is not ambiguous: the table lists these images.
    if tables and len(classes) > 1:
        raise _ambiguity(root, ("table", "class_folders"), f"{name_list(tables)}, and {folders}")
    if arrays and classes:
        raise _ambiguity(root, ("arrays", "class_folders"), f"{name_list(arrays)}, and {folders}")
    return "table" if tables else "arrays"


def only_table(root: Path, tree: Tree) -> str:
    """Return the file name of the table in `root`.

    Raises UserError if there is no table or more than one table directly in `root`.
    """
    tables = tree.top(*TABLES)
    if len(tables) != 1:
        raise UserError(
            f"a source of the kind table needs exactly one {', '.join(TABLES)} file directly in "
            f"{root}; add or remove tables, or set another ingest.source.kind. "
            f"Received: {name_list(tables) or 'none'}"
        )
    return tables[0]


def table_advice(tree: Tree) -> str:
    """Return a part of an error message about files that may be tables, but are not read.

    The result is an empty text if no such file is directly in the folder of `tree`.
    """
    others = tree.top(*OTHER_TABLES)
    if not others:
        return ""
    return (
        f"; if the labels are in {name_list(others)}, save them as a table with one row per image, "
        f"because only {', '.join(TABLES)} are read as tables"
    )


def check_unpacked(root: Path, tree: Tree) -> None:
    """Raise UserError if `root` contains archives, but no images, tables or array files."""
    archives = tree.top(*ARCHIVES)
    if archives and not tree.top(*TABLES, *ARRAYS) and not any(map(is_image, tree.files)):
        raise UserError(
            f"{root} contains archives, but no images, tables or array files; move the archives to "
            "another folder, and unpack them with `fovea data add`. "
            f"Received: {name_list(archives)}"
        )


def _kind_of_folders(root: Path, tree: Tree) -> str:
    tops = [name for name in tree.top_folders() if not is_junk(name)]
    splits = [name for name in tops if name.lower() in SPLITS_BY_WORD]
    nested = {path.split("/")[0] for path in tree.folders if "/" in path and not is_junk(path)}
    if tops and splits == tops and set(tops) <= nested:
        return "split_folders"
    # If train and another folder have the same folders in them, both are probably splits. Example:
    # train/cat, train/dog, holdout/cat and holdout/dog.
    if len(splits) == 1 and (same := _twins(tree, splits[0])):
        received = f"{name_list([*splits, *same])} with the same folders in them"
        raise _ambiguity(root, ("split_folders", "class_folders"), received)
    # Folders such as train and test are probably splits, even if they contain no class folders, or
    # if there are other folders beside them. But they may also be classes. So the user must choose.
    if len({SPLITS_BY_WORD[name.lower()] for name in splits}) > 1:
        others = name_list(set(tops) - (set(splits) & nested))
        received = f"{name_list(splits)}; folders that are no split or have no classes: {others}"
        raise _ambiguity(root, ("split_folders", "class_folders"), received)
    return "class_folders"


def _twins(tree: Tree, split: str) -> list[str]:
    """Return the folders at the top that have two or more folders with the same names as `split`.

    split: the name of a folder at the top.
    """
    inner: dict[str, set[str]] = defaultdict(set)
    for top, name in (path.split("/") for path in tree.folders if path.count("/") == 1):
        inner[top].add(name)
    own = inner.pop(split, set())
    return [top for top, names in inner.items() if len(names & own) > 1]


def _ambiguity(root: Path, kinds: tuple[str, str], received: str) -> UserError:
    return UserError(
        f"{root} can be read as two kinds of source; set ingest.source.kind to "
        f"{' or '.join(kinds)}. "
        f"Received: {received}"
    )
