"""Folders of images → their entries; folder names give the label, or the split and the label."""

from collections.abc import Iterator
from typing import Literal

from components.errors import UserError
from components.sources.listing import SPLITS_BY_WORD, Entry, is_image, is_junk
from components.sources.tree import Tree
from components.words import printable

Group = Literal["none", "subfolder"]


def class_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<class>/**/<image>`. The label is empty for an image at the top."""
    return [_entry(path, [], steps, group) for path, steps in _images(tree)]


def split_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<split>/<class>/**/<image>`.

    Raises UserError if an image is in a top folder that does not have the name of a split.
    """
    entries = []
    for path, steps in _images(tree):
        if len(steps) > 1 and steps[0].lower() not in SPLITS_BY_WORD:
            raise UserError(
                f"ingest.source.kind is split_folders, so folders at the top must be called "
                f"{', '.join(SPLITS_BY_WORD)}; rename it or set another kind. "
                f"Received: {printable(steps[0])}"
            )
        entries.append(_entry(path, steps[:1], steps[1:], group))
    return entries


def _images(tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each image, and its parts (folder names and file name).

    Hidden files are left out. A link to a folder, or a folder that cannot be listed, may contain
    images. It is yielded as if it contained one image with an empty name, so it becomes a row with
    a fault.
    """
    closed = set(tree.closed)
    for path in sorted([*filter(is_image, tree.files), *closed]):
        if is_junk(path):
            continue
        yield path, [*path.split("/"), ""] if path in closed else path.split("/")


def _entry(path: str, split: list[str], steps: list[str], group: Group) -> Entry:
    """Make the entry of an image.

    split: a list with the name of the split folder, or an empty list.
    steps: the folder names below the split folder, and the file name.

    The name of a group contains the class: `cat/1` and `dog/1` are two groups. Folders named 1, 2
    or 2024 often occur in every class by chance, and a group with all classes could not be split.
    The name of a group does not contain the split: a group in train and in test is a leak, which
    can only be found if the group has the same name in both splits.
    """
    label = steps[0] if len(steps) > 1 else ""
    inner = group == "subfolder" and len(steps) > 2
    given_split = SPLITS_BY_WORD[split[0].lower()] if split and steps else None
    return Entry(path, label, "/".join(steps[:-1]) if inner else None, given_split)
