"""Folders of images → their entries: the folder's name is the label, or split and label."""

from collections.abc import Iterator
from typing import Literal

from components.errors import UserError
from components.sources.listing import SIDES_BY_WORD, Entry, is_image, is_junk
from components.sources.tree import Tree
from components.words import printable

Group = Literal["none", "subfolder"]


def class_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<class>/**/<image>`; an image in no folder has no label."""
    return [_entry(path, [], steps, group) for path, steps in _images(tree)]


def split_folders(tree: Tree, group: Group) -> list[Entry]:
    """Return an entry for each `<split>/<class>/**/<image>`.

    Raises UserError where an image lies in a top folder that is not called as a split.
    """
    entries = []
    for path, steps in _images(tree):
        if len(steps) > 1 and steps[0].lower() not in SIDES_BY_WORD:
            raise UserError(
                f"ingest.source.kind is split_folders, so folders at the top are called "
                f"{', '.join(SIDES_BY_WORD)}; rename it or set another kind. "
                f"Received: {printable(steps[0])}"
            )
        entries.append(_entry(path, steps[:1], steps[1:], group))
    return entries


def _images(tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Yield path and its steps; what hides images counts as an image right in that folder.

    What is hidden or left by a file browser is none: `.ipynb_checkpoints` is no class.
    """
    closed = set(tree.closed)
    for path in sorted([*filter(is_image, tree.files), *closed]):
        if is_junk(path):
            continue
        yield path, [*path.split("/"), ""] if path in closed else path.split("/")


def _entry(path: str, split: list[str], steps: list[str], group: Group) -> Entry:
    """Make an entry of the folders above a picture, outermost first, and its own name.

    A group is named with its class in front: `cat/1` and `dog/1` are two, since folders called 1,
    2 or 2024 occur in every class by chance, and one group of all classes could not be split. It is
    named without its split: a session that lies in train and in test is a leak, to be found.
    """
    label = steps[0] if len(steps) > 1 else ""
    inner = group == "subfolder" and len(steps) > 2
    side = SIDES_BY_WORD[split[0].lower()] if split and steps else None
    return Entry(path, label, "/".join(steps[:-1]) if inner else None, side)
