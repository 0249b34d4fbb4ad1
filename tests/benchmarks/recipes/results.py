"""Results ⇄ a file with a JSON object in each line; a result that is there is not made again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from components.calibration.scores import calibration
from pipelines.workspace.lineage import lineage
from pipelines.workspace.machine import machine
from tests.benchmarks.recipes.fits import Fit, macro_f1

ROOT = Path(__file__).parents[3]
# What decides a result. kind: `ours`, or the name of a peer. params: a hash of the values of the
# card with its change. So a card whose values have changed since then is trained again, and two
# cards with equal values, such as `before` and a `standard` that is still the same, only once.
DECIDING = ("data", "seed", "kind", "params")
NAMES = ("recipe", "change")

Result = dict[str, Any]


class Results:
    """The file of the results. A last line that a killed process left incomplete is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            path.write_bytes(whole)
        self.lines: list[Result] = [json.loads(line) for line in whole.splitlines()]

    def find(self, key: Mapping[str, Any]) -> Result | None:
        """Return the result of a key, or None. A result of equal values gets another name."""
        alike = [line for line in self.lines if all(line[k] == key[k] for k in DECIDING)]
        named = [line for line in alike if all(line[k] == key[k] for k in NAMES)]
        if alike and not named:
            named = [{**alike[-1], **key}]
            self.add(named[0])
        return named[-1] if named else None

    def add(self, result: Result) -> None:
        """Write a result at the end of the file."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(result)


def scores(fit: Fit, labels: NDArray[np.int64]) -> Result:
    """Return what a fit reaches on test, and what it cost."""
    predicted = fit.probabilities.argmax(axis=1)
    recalls = recall_score(labels, predicted, average=None, zero_division=0)
    honest = calibration(labels, fit.probabilities)
    return {
        "macro_f1": macro_f1(labels, predicted),
        "accuracy": float(np.mean(predicted == labels)),
        "recalls": [round(float(recall), 4) for recall in recalls],
        "ece": honest.ece,
        "bins": honest.to_tree()["bins"],
        "cpu_s": round(fit.cpu_s, 1),
        "wall_s": round(fit.wall_s, 1),
        **fit.facts,
    }


def circumstances() -> Result:
    """Return the commit, the packages, the processor and the load of the machine."""
    tags = {**lineage(ROOT), **machine()}
    names = ("git.commit", "git.dirty", "python", "packages", "backend", "threads", "processor")
    load = [round(value, 1) for value in os.getloadavg()]
    return {**{name: tags.get(name, "unknown") for name in names}, "load": load}
