"""manifest → which images are the same, and which belong together.

Same means identical decoded pixels (`pixels_id`), whatever the file's name, format or metadata.
"""

import pandas as pd


def repeats(manifest: pd.DataFrame) -> pd.Series:
    """Return bool [rows]: True where an earlier row has the same pixels already."""
    pixels = manifest["pixels_id"]
    return pixels.notna() & pixels.duplicated()


def label_counts(manifest: pd.DataFrame) -> pd.Series:
    """Return int [rows]: under how many labels a row's pixels occur, 0 where it has no pixels.

    An empty label contradicts nothing and does not count.
    """
    labels = manifest["label"].where(manifest["label"] != "")
    return labels.groupby(manifest["pixels_id"]).transform("nunique").fillna(0).astype("int64")


def clusters(manifest: pd.DataFrame) -> pd.Series:
    """Return str [rows]: the name of the set of images that must not be parted.

    A set is a group, or all images with the same pixels; groups that share an image are one set.
    The name is the group's, or else the pixels', so it does not change when images arrive. (Only
    where an image joins two groups do both take the name that sorts first.)
    """
    pixels, group = manifest["pixels_id"], manifest["group"]
    names = ("group " + group).where(group.notna(), "pixels " + pixels)
    parents = {name: name for name in names}
    pairs = pd.DataFrame({"pixels": pixels, "name": names}).drop_duplicates()
    for _, shared in pairs[pairs["pixels"].duplicated(keep=False)].groupby("pixels")["name"]:
        first, *others = sorted(_root(parents, name) for name in shared)
        parents.update(dict.fromkeys(others, first))
    return names.map(lambda name: _root(parents, name))


def _root(parents: dict[str, str], name: str) -> str:
    while parents[name] != name:
        name = parents[name]
    return name
