"""A path that the user wants a command to write → one sentence if nothing can be written there."""

import os
from pathlib import Path

from components.errors import UserError


def check_place(path: Path, option: str) -> None:
    """Raise UserError if `path` is below something that is no folder. option: such as `--output`.

    Folders that are missing are no mistake; they are made.
    """
    for above in path.parents:
        if os.path.lexists(above) and not above.is_dir():
            raise UserError(
                f"{option} must be in a folder; give another path. Received: {path}, below "
                f"{above}, which is no folder"
            )
