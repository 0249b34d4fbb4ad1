"""A link in a folder → the file in DVC's cache to which the link leads; None for any other link.

With DVC's setting `cache.type symlink`, each image in data/raw is a symbolic link to a file in
DVC's cache. DVC made these links, so they are read. A link to any other place is not read, because
it could lead to a file that the owner of the images may not see.

For example, if DVC's cache is /big/cache, the link `cat/1.png` → /big/cache/files/md5/0a/4f… is
read. The links → /etc/passwd and → /copy/of/.dvc/cache/files/md5/0a/4f… are not read.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

# The path of an object (a file of the cache) below the folder of the cache: the folder names, and
# the md5 of its content.
OBJECT = re.compile(r"files/md5/[0-9a-f]{2}/[0-9a-f]{30}")


def linked_object(link: str | Path) -> Path | None:
    """Return the object of DVC's cache to which a symbolic link leads.

    The result is None if the link leads to any other place. The cache is the one of the nearest
    folder above the link that has a folder .dvc. The object may be missing. DVC's config files are
    read only once in a process.
    """
    target = os.path.realpath(link)
    cache = _real_cache(str(Path(link).parent.absolute()))
    inside = cache is not None and target.startswith(f"{cache}/")
    return Path(target) if inside and OBJECT.fullmatch(target[len(cache or "") + 1 :]) else None


def cache_folder(root: Path = Path()) -> Path:
    """Return the path of the folder of DVC's cache for the repository at `root`.

    The default is .dvc/cache. DVC's config files can set another folder. They are read in this
    order: the files of the system, the user, the repository and this clone. The last file that sets
    a folder is used. A file that cannot be read is skipped.
    The command `dvc cache dir` prints the same folder, but takes half a second.
    """
    from configobj import ConfigObj, ConfigObjError  # DVC reads its config files with it.

    folder = root / ".dvc/cache"
    for file in _config_files(root):
        try:
            config = ConfigObj(file.read_text(encoding="utf-8").splitlines(), interpolation=False)
        except (OSError, UnicodeError, ConfigObjError):
            continue
        section = config.get("cache")
        value = section.get("dir") if isinstance(section, dict) else None
        if isinstance(value, str) and value:
            folder = file.parent / Path(value).expanduser()
    return folder


@lru_cache(maxsize=1024)
def _real_cache(folder: str) -> str | None:
    """Return the cache of the repository that contains `folder`, without links in its path."""
    for above in (Path(folder), *Path(folder).parents):
        if (above / ".dvc").is_dir():
            return os.path.realpath(cache_folder(above))
    return None


def _config_files(root: Path) -> Iterator[Path]:
    import platformdirs  # DVC finds its config files with the same library.

    system = platformdirs.site_config_dir("dvc", "iterative")
    user = platformdirs.user_config_dir("dvc", "iterative")
    yield Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or system) / "config"
    yield Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or user) / "config"
    yield root / ".dvc/config"
    yield root / ".dvc/config.local"
