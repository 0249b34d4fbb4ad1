"""dvc.yaml, and what DVC reports about it → the steps of a run, and which of them DVC must look at.

A step is a stage of dvc.yaml, or a .dvc file such as data/raw.dvc whose outs a stage reads. A stage
that dvc.yaml repeats with `foreach` or `matrix` is one step.

`dvc repro` looks at every stage. This module asks DVC only once what has changed, so that a run can
leave out the stages that `dvc repro` would skip. A stage is left out if two things are true: DVC
does not list it as changed, and no step directly before it has written other outs in this run.
For example, `split` reads what `validate` writes. The images have changed, so DVC lists `ingest`
and `validate`. `validate` runs, but its outs are the same as before. So `split` is left out.
"""

import json
import logging
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.params import yaml_text
from pipelines.workspace import dvc_files, locks
from pipelines.workspace.processes import DVC, CommandFailedError, capture, dvc_error

log = logging.getLogger(__name__)

DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
# `dvc repro` prints this as its last line if it has run no stage.
UP_TO_DATE = "Data and pipelines are up to date."
# The lines that `dvc dag --mermaid` prints: a step, and an arrow from a step to one that reads it.
_STEP = re.compile(r'\s*(node\d+)\["(.+)"\]')
_ARROW = re.compile(r"\s*(node\d+)-->(node\d+)")
_MEMBER = "@"  # `train@a` is the member `a` of the stage `train`, which dvc.yaml repeats.


@dataclass(frozen=True)
class Plan:
    """The steps of a run.

    steps: the stages of dvc.yaml and the .dvc files before them, each after all that it reads.
    before: step → the steps whose outs it reads. listed: the steps that DVC lists as changed.
    """

    steps: tuple[str, ...]
    before: Mapping[str, frozenset[str]]
    listed: frozenset[str]

    def may_run(self, step: str, rewritten: Set[str]) -> bool:
        """Return whether `dvc repro` may run the step. If not, the step is certainly up to date.

        rewritten: the earlier steps that have written other outs in this run.
        """
        return step in self.listed or not rewritten.isdisjoint(self.before.get(step, ()))

    def is_done(self, step: str) -> bool:
        """Return whether the step and all steps before it are certainly up to date."""
        missing, waiting = step not in self.steps, [step]
        seen: set[str] = set()
        while waiting:
            here = waiting.pop()
            seen.add(here)
            waiting += self.before.get(here, frozenset()) - seen
        return not missing and self.listed.isdisjoint(seen)


def plan(stages: Sequence[str]) -> Plan:
    """Ask DVC which stages have changed, and what they read from each other.

    stages: the names of the stages in dvc.yaml. If another DVC process runs a stage, this function
    waits until it ends.
    Raises CommandFailedError with DVC's reason if DVC fails. For example, dvc.yaml is not valid.
    """
    with ThreadPoolExecutor() as threads:  # Each of the two processes needs a second to start.
        dag = threads.submit(_dvc, "dag", "--mermaid", "--collapse-foreach-matrix", str(DVC_YAML))
        status = json.loads(_dvc("status", "--json"))
    before = _read_arrows(dag.result())
    return Plan(tuple(_in_order(stages, before)), before, frozenset(map(_step, status)))


def read_stages(path: Path) -> tuple[str, ...]:
    """Return the names of the stages in dvc.yaml, in the order of the file.

    Raises UserError if the file is missing or no valid YAML, or if it names no stage.
    """
    if not path.is_file():
        raise UserError(f"no dvc.yaml; run from the repository's root. Received: {Path.cwd()}")
    tree = yaml_text.parse(path.read_text(encoding="utf-8"), path)
    stages = tree.get("stages") if isinstance(tree, Mapping) else None
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(f"{path} must name stages below `stages:`. Received: {stages!r}")
    return tuple(stages)


def check_lock() -> None:
    """Raise UserError if dvc.lock is no valid YAML, for example because a merge has conflicts."""
    if DVC_LOCK.is_file():
        yaml_text.parse(DVC_LOCK.read_text(encoding="utf-8"), DVC_LOCK)


def recorded_outs(step: str) -> object:
    """Return what DVC has recorded about the outs of a step: their paths, sizes and md5s.

    Two results are equal if the outs are equal. The result is None if nothing is recorded.
    """
    if step.endswith(".dvc"):
        return dvc_files.parse(dvc_files.read_text(Path(step))).get("outs")
    stages: Mapping[str, Any] = dvc_files.parse(dvc_files.read_text(DVC_LOCK)).get("stages") or {}
    outs = {name: stage.get("outs") for name, stage in stages.items() if _step(name) == step}
    return outs or None


def _dvc(*arguments: str) -> str:
    """Run DVC and return what it prints. Raises CommandFailedError with DVC's reason."""

    def run_dvc() -> str:
        done: subprocess.CompletedProcess[str] = capture(*DVC, "--wait-for-lock", *arguments)
        if done.returncode:
            raise CommandFailedError(f"`dvc {arguments[0]}` fails: {dvc_error(done.stderr)}")
        return done.stdout

    return locks.when_dvc_is_free(Path(), run_dvc)


def _step(name: str) -> str:
    """Return the step to which a name in DVC's output belongs.

    >>> _step("train@a"), _step("train"), _step("data/a@b.dvc")
    ('train', 'train', 'data/a@b.dvc')
    """
    return name if name.endswith(".dvc") else name.partition(_MEMBER)[0]


def _read_arrows(mermaid: str) -> dict[str, frozenset[str]]:
    """Return step → the steps whose outs it reads.

    mermaid: the output of `dvc dag --mermaid`.

    >>> _read_arrows('flowchart TD\\n\\tnode1["a"]\\n\\tnode2["b"]\\n\\tnode1-->node2\\n')
    {'a': frozenset(), 'b': frozenset({'a'})}
    """
    lines = mermaid.splitlines()
    steps = {match[1]: match[2] for line in lines if (match := _STEP.fullmatch(line))}
    arrows = [(match[1], match[2]) for line in lines if (match := _ARROW.fullmatch(line))]
    return {
        step: frozenset(steps[first] for first, then in arrows if then == node)
        for node, step in steps.items()
    }


def _in_order(stages: Sequence[str], before: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield each step after the steps before it, otherwise in the order of dvc.yaml.

    This is the order of `dvc repro`, in which DVC appends stages to dvc.lock.
    """
    positions = {stage: position for position, stage in enumerate(stages)}
    seen: set[str] = set()

    def position(step: str) -> tuple[int, str]:
        return positions.get(step, -1), step

    def visit(step: str) -> Iterator[str]:
        if step not in seen:
            seen.add(step)
            for earlier in sorted(before.get(step, ()), key=position):
                yield from visit(earlier)
            yield step

    for stage in stages:
        yield from visit(stage)
