"""Searches in .fovea/search, as the stage `search` leaves them, without its trainings."""

import json
from pathlib import Path

from components.search.planning import Planning
from components.search.rungs import Rungs
from pipelines.workspace.searches import FOLDER, LAST, PLAN
from tests.components.search.searches import WRITTEN, search_of


def begun_search(workspace: Path, **changes: object) -> Rungs:
    """Write a search with all trials of its first rung waiting, and return its studies."""
    search = search_of(**changes)
    folder = workspace / FOLDER / "s"
    folder.mkdir(parents=True)
    rungs = Rungs.create(f"sqlite:///{folder}/study.db", "s", ["maximize"])
    planning = Planning(search, WRITTEN)
    for number in range(search.trials):
        point = planning.choose(number, [])
        assert point is not None
        rungs.first.add(number, point, planning.first_task(number, point))
    plan = {
        "study": "s",
        "search": search.model_dump(mode="json", exclude_unset=True),
        "written": WRITTEN.model_dump(mode="json"),
    }
    (folder / PLAN).write_text(json.dumps(plan))
    (folder.parent / LAST).write_text("s")
    return rungs
