"""metrics.json, verdict.json → rows of a table and a text that Prefect shows.

Prefect's pages show the text and the cells of the table as Markdown. Names of classes may contain
anything, so `plain` takes the meaning from the characters that are markup.
"""

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.tracking.run_folders import TEST_REPORT
from components.words import printable

# What Markdown takes as markup. `_` between two letters and `:` before a space are none. They stay
# as they are, because the text is also written to the log. `://`, `@` and `www.` would be links.
MARKUP = re.compile(
    r"[\\`*\[\]<>|~&$#@!]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^[-+=]", re.IGNORECASE
)
NUMBER_OF_A_LIST = re.compile(r"^(\d+)([.)])")


def plain(text: str) -> str:
    r"""Return Markdown that shows a text as it is, on one line.

    Line breaks and other unprintable characters are shown as Python escapes, such as \n.

    >>> print(plain("[cat](javascript:1)|<img src=x>"))
    \[cat\](javascript:1)\|\<img src=x\>
    """
    return NUMBER_OF_A_LIST.sub(r"\1\\\2", MARKUP.sub(r"\\\g<0>", printable(text)))


def metric_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield one table row for each number in metrics.json, with its name, value and interval.

    metrics: the content of metrics.json. The interval is an empty text if metrics.json has no
    interval for the number. The metrics of the classes are not in metrics.json, but in classes.csv.
    """
    intervals = metrics["intervals"]
    for name, value in metrics.items():
        if name != "intervals":
            ends = " – ".join(map(_number, intervals.get(name, [])))
            yield {"metric": plain(name), "value": _number(value), "interval": ends}


@dataclass(frozen=True)
class Done:
    """What a flow run did. ran: the stages that ran. unchanged: the other stages."""

    ran: tuple[str, ...]
    unchanged: tuple[str, ...]

    def in_words(self) -> str:
        """Return one line that says which stages ran.

        >>> Done(("evaluate", "register"), ("ingest", "train")).in_words()
        '2 of 4 stages ran: evaluate, register'
        >>> Done((), ("ingest", "train")).in_words()
        'no stage ran, because nothing has changed'
        """
        if not self.ran:
            return "no stage ran, because nothing has changed"
        stages = len(self.ran) + len(self.unchanged)
        return f"{len(self.ran)} of {stages} stages ran: {', '.join(self.ran)}"


def outcome_markdown(done: Done, verdict: Mapping[str, Any] | None, links: Sequence[str]) -> str:
    """Return Markdown that says what a flow run did.

    If the run registered a version, the verdict is the headline. Otherwise the headline is the
    number of stages that ran, and the version is named as one of an earlier run.
    verdict: the content of verdict.json, or None if there is none. links: lines of Markdown.
    """
    unchanged = [f"Unchanged: {', '.join(done.unchanged)}."] if done.unchanged else []
    if verdict is None:
        return "\n\n".join([f"# {_capital(done.in_words())}", *unchanged, *links])
    version = verdict.get("version")
    model = f" of {plain(verdict['name'])}" if "name" in verdict else ""
    model += f" at `{verdict['store']}`" if "store" in verdict else ""
    if "register" in done.ran:
        registered = [f"Version {version}{model}."] if version is not None else []
        reasons = "\n".join(f"- {plain(reason)}" for reason in verdict["reasons"])
        ran = [f"{_capital(done.in_words())}."]
        parts = [f"# {verdict['decision']}", *registered, reasons, *ran, *unchanged, *links]
        return "\n\n".join(parts)
    earlier = (
        f"This run registered no version. Version {version}{model} is from an earlier run, with "
        f"the verdict: {verdict['decision']}."
        if version is not None  # It is None after an experiment of DVC.
        else "No version has the model of this workspace; `fovea register` registers it."
    )
    return "\n\n".join([f"# {_capital(done.in_words())}", *unchanged, earlier, *links])


def links(mlflow: str, page: str, report: Path) -> tuple[str, ...]:
    """Return lines of Markdown that lead to a run on MLflow's page, and to the report.

    The stage `evaluate` stores the report as an artifact of the run, so the link to the report also
    works on another machine.
    mlflow: the address of MLflow. page: the part of the run's address after MLflow's address.
    report: the path of the report in the workspace.
    """
    stored = f"{page}/artifacts/{TEST_REPORT}/{report.name}"
    if mlflow.startswith("http"):
        root = mlflow.rstrip("/")
        return f"[Report]({root}/{stored})", f"[MLflow run]({root}/{page})"
    host = socket.gethostname()
    return (
        f"Report: `{report}` in `{Path.cwd()}` on {host}",
        f"MLflow run: `{page}` on MLflow's page, which `fovea ui` serves on {host}",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float | None) -> str:
    """Return a number as text: an integer in full, a float with four decimals, None as a dash."""
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
