"""Folders of images → the path, label and split of each image (entries), from the folder names."""

from collections.abc import Iterator
from typing import Literal

from components.errors import UserError
from components.sources.listing import SPLITS_BY_WORD, Entry, is_image, is_junk
from components.sources.tree import Tree
from components.words import printable

# What gives the group of an image; all images of a group get the same split. See `_entry`.
Group = Literal["none", "subfolder"]


def class_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each image `<class>/**/<image>`.

    If an image is not in a class folder, its label is empty.
    """
    return [_entry(path, [], steps, group) for path, steps in _images(tree)]


def split_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each image `<split>/<class>/**/<image>`.

    If an image is not in a class folder, its label is empty. Raises UserError if an image is in a
    top folder whose name is not the name of a split.
    """
    entries = []
    for path, steps in _images(tree):
        if len(steps) > 1 and steps[0].lower() not in SPLITS_BY_WORD:
            raise UserError(
                "ingest.source.kind is split_folders, so each folder at the top must be called "
                f"{', '.join(SPLITS_BY_WORD)}; rename the folder, or set another kind. "
                f"Received: {printable(steps[0])}"
            )
        entries.append(_entry(path, steps[:1], steps[1:], group))
    return entries


def _images(tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each image, and the parts of the path (folder names and file name).

    Hidden files and files that a file browser made, such as Thumbs.db, are left out.

    A symbolic link to a folder, or a folder that cannot be listed, may contain images. The path of
    this link or folder is yielded like the path of an image, and an empty file name is added to the
    parts of the path. So the link or folder later becomes a row of the manifest (the table of all
    images), and the column `fault` says why the link or folder cannot be read.
    """
    closed = set(tree.closed)
    for path in sorted([*filter(is_image, tree.files), *closed]):
        if is_junk(path):
            continue
        yield path, [*path.split("/"), ""] if path in closed else path.split("/")


def _entry(path: str, split: list[str], steps: list[str], group: Group) -> Entry:
    """Return the entry of an image.

    path: the path of the image, relative to data/raw.
    split: a list with the name of the split folder. Empty if there is no split folder.
    steps: the folder names of the path after the split folder, and the file name.
    group: with `subfolder`, the folders below the class folder are groups. With `none`, no image
    has a group.

    The name of a group contains the class, so `cat/1` and `dog/1` are two groups. The reason is
    that folders with names such as 1 or 2024 often occur in every class by chance. If the folders
    with the name 1 were one group, images of all classes would get the same split, because all
    images of a group get the same split.

    The name of a group does not contain the split. If images of one group are in train and in test,
    this is a leak. The leak is only found if the group has the same name in train and in test.
    """
    label = steps[0] if len(steps) > 1 else ""
    inner = group == "subfolder" and len(steps) > 2
    given_split = SPLITS_BY_WORD[split[0].lower()] if split and steps else None
    return Entry(path, label, "/".join(steps[:-1]) if inner else None, given_split)
