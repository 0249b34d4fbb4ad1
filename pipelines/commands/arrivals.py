"""The names of new files → their paths below data/raw, warnings, and a summary for the user."""

import logging
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from components.errors import UserError
from components.sources.listing import SPLITS_BY_WORD, is_image
from components.words import count_text, name_list
from pipelines.artifacts import RAW

log = logging.getLogger(__name__)

TABLES = frozenset({".csv", ".tsv", ".parquet", ".jsonl", ".npz", ".npy"})
SHOWN = 10  # The summary names at most this many classes.
Parts = tuple[str, ...]


def folder_below(into: str) -> PurePosixPath:
    """Return the folder that --into names, relative to data/raw.

    into: the value of --into; an empty text means data/raw itself. Raises UserError if the folder
    is not below data/raw, or if a part of its path starts with a dot (a hidden folder).
    """
    folder = PurePosixPath(into)
    if folder.is_absolute() or ".." in folder.parts or any(p.startswith(".") for p in folder.parts):
        raise UserError(f"--into must name a folder below {RAW}, such as cat. Received: {into!r}")
    return folder


def targets(names: Sequence[str], into: PurePosixPath, raw: Path) -> dict[str, str]:
    """Return name → path below data/raw for each new file.

    names: the paths of the files in their folder or archive. into: the folder below data/raw that
    the files are added to. raw: the path of data/raw.
    If the new paths leave out a folder that contains the whole data set, a message is logged.
    """
    wrapper = _wrapper(names, into, raw)
    if wrapper:
        above = "/".join(wrapper)
        log.info(
            f"every file is in {above}/. This folder seems to contain the whole data set and not a "
            f"class, so it is left out of the new paths. If {above} is a class, add the files with "
            f"--into {above}"
        )
    parts_of = {name: PurePosixPath(name).parts for name in names}
    return {
        name: str(into.joinpath(*parts[len(wrapper) :]) if _below(parts, wrapper) else into / name)
        for name, parts in parts_of.items()
    }


def check_names(arriving: Iterable[str], existing: Iterable[str]) -> None:
    """Raise UserError if a name is not UTF-8, or if a file and a folder would have the same name.

    arriving: the paths that the new files get below data/raw. existing: the paths of the files that
    data/raw has already.
    """
    files = {*arriving, *existing}
    for name in sorted(files):
        if not is_utf8(name):
            raise UserError(
                "the name of a file is not UTF-8, so DVC cannot add it; rename the file. "
                f"Received: {name!r}"
            )
    for name in sorted(arriving):
        if clash := next((above for above in _folders_of(name) if above in files), None):
            raise UserError(
                "a file and a folder cannot have the same name; rename the file. "
                f"Received: {clash} and {name}"
            )
    folders = {above for name in existing for above in _folders_of(name)}
    if clashing := sorted(folders & set(arriving)):
        raise UserError(
            f"{RAW} already has a folder with this name; rename the file. Received: {clashing[0]}"
        )


def summary(new: Sequence[str], replaced: int, known: int, skipped: Sequence[str]) -> str:
    """Return a line that says how many files were added, known and skipped.

    new: the paths below data/raw of the added files. replaced: the number of added files that
    replaced an old file. known: the number of files that were not added, because data/raw had them
    already. skipped: the names of hidden files, which were left out.
    """
    classes = Counter(_class(name) for name in new if is_image(name))
    most = sorted(classes.most_common(SHOWN))
    per_class = ", ".join(f"{label or 'in no folder'}: {images:,}" for label, images in most)
    more = f" and {len(classes) - SHOWN} more classes" * (len(classes) > SHOWN)
    parts = [
        f"{count_text(len(new), 'file')} added to {RAW}" + f" ({per_class}{more})" * bool(classes)
    ]
    parts += [f"{replaced:,} of them replaced old files"] * bool(replaced)
    parts += [f"{known:,} were there already"] * bool(known)
    if skipped:
        parts.append(f"{count_text(len(skipped), 'hidden file')} left out: {name_list(skipped)}")
    return "; ".join(parts)


def alike_names(new: Iterable[str], existing: Iterable[str]) -> Iterator[str]:
    """Yield one warning if two names differ only in capitals or in the Unicode form of a letter.

    new: the paths that the new files get below data/raw. existing: the paths of the files that
    data/raw has already.
    """
    alike = defaultdict(set)
    for name in {*new, *existing}:
        alike[unicodedata.normalize("NFC", name).casefold()].add(name)
    pairs = sorted(sorted(names) for names in alike.values() if len(names) > 1)
    if pairs:
        verb = "is" if len(pairs) == 1 else "are"
        names = count_text(len(pairs), "name")
        yield (
            f"{names} {verb} there twice, with different capitals or different Unicode forms of a "
            "letter; macOS and Windows keep only one of the two files, so rename one (first pair: "
            f"{' and '.join(pairs[0])})"
        )


def _wrapper(names: Sequence[str], into: PurePosixPath, raw: Path) -> Parts:
    """Return the outer folders to leave out, so that each new path starts with the class folder.

    Example: photos/ is left out of photos/cat/1.png and photos/dog/1.png, because cat and dog are
    the classes. But if data/raw already has a folder photos, photos/ is not left out, because this
    folder must be a class or a split.
    An outer folder with the same name as the folder `into` is left out. Example: with `--into cat`,
    the new path of cat/1.png is cat/1.png and not cat/cat/1.png.
    """
    paths = [PurePosixPath(name).parts for name in names if is_image(name) or _is_table(name)]
    around = _common([parts[:-1] for parts in paths])
    for depth in range(len(around) + 1):
        if _is_layout([parts[depth:] for parts in paths]):
            return around[:depth]
        if raw.joinpath(into, *around[: depth + 1]).is_dir():
            break
    return around[:1] if around and around[0] == into.name else ()


def _common(folders: Sequence[Parts]) -> Parts:
    first, last = min(folders, default=()), max(folders, default=())
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return tuple(step for step, _ in pairs)


def _is_layout(paths: Sequence[Parts]) -> bool:
    """Return whether the first parts of these paths look like the top of a data set.

    The top of a data set has a table, an array file, the folder of a split, or class folders. Two
    or more folders are class folders if their parent folder directly contains no image.
    """
    top = [parts[0] for parts in paths if len(parts) == 1]
    folders = {parts[0] for parts in paths if len(parts) > 1}
    if any(map(_is_table, top)) or any(folder.lower() in SPLITS_BY_WORD for folder in folders):
        return True
    return len(folders) > 1 and not any(map(is_image, top))


def _is_table(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in TABLES


def is_utf8(name: str) -> bool:
    """Return whether a name consists of UTF-8. The names of other files are escaped by Python."""
    try:
        name.encode()
    except UnicodeError:
        return False
    return True


def _below(parts: Parts, folder: Parts) -> bool:
    return parts[: len(folder)] == folder and len(parts) > len(folder)


def _folders_of(name: str) -> list[str]:
    return [str(above) for above in PurePosixPath(name).parents][:-1]


def _class(name: str) -> str:
    """Return the class folder of an image; "" if the image is in no class folder.

    The folder of a split, such as train/, is no class folder.
    """
    parts = PurePosixPath(name).parts[:-1]
    below = parts[1:] if parts and parts[0].lower() in SPLITS_BY_WORD else parts
    return below[0] if below else ""
