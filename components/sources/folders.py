"""Folders of images → their entries: the folder's name is the label, or split and label."""

from collections.abc import Iterator
from typing import Literal

from components.errors import UserError
from components.sources.listing import SPLITS_BY_WORD, Entry, is_image, is_junk
from components.sources.tree import Tree
from components.words import printable

Group = Literal["none", "subfolder"]


def class_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<class>/**/<image>`; an image in no folder has no label."""
    return [_entry(path, [], steps, group) for path, steps in _images(tree)]


def split_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<split>/<class>/**/<image>`.

    Raises UserError where an image is in a top folder that is not named after a split.
    """
    entries = []
    for path, steps in _images(tree):
        if len(steps) > 1 and steps[0].lower() not in SPLITS_BY_WORD:
            raise UserError(
                f"ingest.source.kind is split_folders, so folders at the top are called "
                f"{', '.join(SPLITS_BY_WORD)}; rename it or set another kind. "
                f"Received: {printable(steps[0])}"
            )
        entries.append(_entry(path, steps[:1], steps[1:], group))
    return entries


def _images(tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Yield each image's path, and the path's parts; hidden files are no images.

    A link to a folder, or a folder that cannot be listed, may hide images: it counts as one image
    in that folder, so that it becomes a row with a fault.
    """
    closed = set(tree.closed)
    for path in sorted([*filter(is_image, tree.files), *closed]):
        if is_junk(path):
            continue
        yield path, [*path.split("/"), ""] if path in closed else path.split("/")


def _entry(path: str, split: list[str], steps: list[str], group: Group) -> Entry:
    """Make an entry of a picture.

    split: the folder that names its split, or none. steps: the folders below that, and its name.

    A group has its class in its name: `cat/1` and `dog/1` are two, since folders named 1, 2 or 2024
    occur in every class by chance, and one group of all classes could not be split. It does not
    have its split in its name: a group in train and in test is a leak, which must be found.
    """
    label = steps[0] if len(steps) > 1 else ""
    inner = group == "subfolder" and len(steps) > 2
    given_split = SPLITS_BY_WORD[split[0].lower()] if split and steps else None
    return Entry(path, label, "/".join(steps[:-1]) if inner else None, given_split)
