import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from components.registry.record import PREFIX
from components.registry.standing import history
from components.registry.versions import Version, register_version, tag_version, versions
from components.tracking import connection
from components.tracking.runs import Run, start_run
from pipelines import artifacts
from pipelines.commands import review
from pipelines.commands.console import show_checks
from pipelines.commands.doctor import Check, _champion
from pipelines.formats import read_tree, write_table, write_tree
from tests.cards import DIGITS
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import dvc, write

ROOT = Path(__file__).parents[3]
FOVEA = [sys.executable, "-m", "pipelines.commands.fovea"]
COMMANDS = [
    "init",
    "sample",
    "doctor",
    "labels",
    "balance",
    "register",
    "sync",
    "review",
    "promote",
    "reject",
    "rollback",
    "lr",
    "history",
    "explain",
    "explain-image",
    "predict",
    "reproduce",
    "study",
    "ui",
    "summary",
    "completion",
]
JUDGE_HERE = review.judge_here  # before a fixture replaces it
INTERVAL = {"value": 0.9, "low": 0.85, "high": 0.95}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def workspace(folder_with_store: Path) -> Path:
    shutil.copy(DIGITS, "params.yaml")
    return folder_with_store


@pytest.fixture
def fovea(workspace: Path, typed: Command) -> Command:
    """Run a command in a folder with a params.yaml and a store."""
    return typed


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """Let each version that is judged again win, without a model; note which versions met."""
    met: list[tuple[int, int | None]] = []

    def judge(version: Version, champion: Version | None) -> None:
        against = champion.number if champion else None
        met.append((version.number, against))
        tags = {"verdict": "promote", "compared_with": str(against or "none")}
        tag_version(version.name, version.number, tags)

    monkeypatch.setattr("pipelines.commands.review.judge_here", judge)
    return met


def alias_by_hand(number: int) -> None:
    connection.client().set_registered_model_alias("digits", "champion", str(number))


@pytest.fixture
def two_versions(workspace: Path) -> Path:
    for content in (b"one", b"two"):
        registered(content)
    return workspace


def registered(
    content: bytes, decision: str = "promote", against: int | None = None, *, added: bool = False
) -> int:
    """Register bytes as `register` does, with a verdict on a class; added: and on a new one."""
    artifacts.MODEL.parent.mkdir(parents=True, exist_ok=True)
    artifacts.MODEL.write_bytes(content)
    both = {"challenger": INTERVAL, "champion": INTERVAL if against else None}
    difference = {"value": -0.01, "low": -0.03, "high": 0.02} if against else None
    rows = [
        {"metric": metric, "class_name": name, **both, "difference": difference}
        for metric, name in (("accuracy", None), ("macro_f1", None), ("recall", "[red] glass"))
    ]
    if added:
        new = {"challenger": INTERVAL, "champion": None, "difference": None}
        rows.append({"metric": "recall", "class_name": "new", **new})
    verdict = {
        "name": "digits",
        "version": 1,
        "champion": against,
        "decision": decision,
        "reasons": ["every floor holds", "and more"],
        "comparison": rows,
        "images": 60,
        "confidence": 0.95,
    }
    write_tree(artifacts.VERDICT, verdict)
    with start_run("train", ORIGIN, {"stage": "train"}) as run:
        run.log_files(artifacts.VERDICT, folder="register/digits")
    tags = {
        "git.commit": "c" * 40,
        "git.dirty": "yes: params.yaml",
        "dvc.data_raw": "feed.dir",
        "verdict": decision,
        "reasons": "; ".join(verdict["reasons"]),
        "compared_with": str(against or "none"),
    }
    example = np.zeros((1, 4, 4, 3), np.uint8)
    return register_version("digits", artifacts.MODEL, run, example, 2, tags)


def test_help_answers_within_a_second_and_imports_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "mlflow", "great_expectations", "prefect", "pandas", "sklearn"]
    code = f"import sys, pipelines.commands.fovea; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    times = []
    for _ in range(3):  # the best of three, for other tests may be using the processors
        start = time.monotonic()
        subprocess.run([*FOVEA, "--help"], check=True, capture_output=True)
        times.append(time.monotonic() - start)
    assert min(times) < 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(fovea: Command, command: str) -> None:
    status, out, _ = fovea(command, "--help")
    assert status == 0
    assert f"Example: fovea {command}" in out
    assert fovea(command, "-h") == (0, out, "")


def test_the_short_h_asks_for_help_everywhere(fovea: Command) -> None:
    for command in ((), ("data",), ("data", "add"), ("study",), ("study", "stop")):
        status, out, _ = fovea(*command, "-h")
        assert (status, out) == (0, fovea(*command, "--help")[1])
        assert f"Usage: {' '.join(('fovea', *command))} " in out


def test_version_is_that_of_the_installed_package(fovea: Command) -> None:
    assert fovea("--version") == (0, f"fovea {metadata.version('fovea')}\n", "")


def test_bash_completes_commands_and_options_by_the_script(tmp_path: Path) -> None:
    program = tmp_path / "fovea"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pipelines.commands.fovea "$@"\n')
    program.chmod(0o755)
    asked = (
        'eval "$(fovea completion bash)"; '
        "COMP_WORDS=(fovea promote --ov); COMP_CWORD=2; _fovea_completion fovea; "
        'echo "${COMPREPLY[*]}"'
    )
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(["bash", "-c", asked], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("--override\n", "")


@pytest.mark.parametrize(
    ("shell", "names", "answer"),
    [
        ("bash", {"COMP_WORDS": "fovea hist", "COMP_CWORD": "1"}, "history"),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "fovea hist"}, '"history"'),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "fovea hist", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "history",
        ),
    ],
)
def test_each_shell_has_a_script_and_gets_completions(
    shell: str,
    names: dict[str, str],
    answer: str,
    fovea: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, script, _ = fovea("completion", shell)
    assert status == 0
    assert f"_FOVEA_COMPLETE=complete_{shell}" in script
    for name, value in {**names, "_FOVEA_COMPLETE": f"complete_{shell}"}.items():
        monkeypatch.setenv(name, value)
    status, shown, _ = fovea()
    assert (status, answer in shown, "summary" in shown) == (0, True, False)


def test_a_shell_without_a_script_is_refused_with_those_that_have_one(fovea: Command) -> None:
    status, _, err = fovea("completion", "csh")
    assert status == 2
    assert "fish" in err
    for arguments in (("init", "--preset", "fast"), ("lr", "--phase", "foo")):
        status, _, err = fovea(*arguments)
        assert (status, "Value error" in err) == (2, False)
        assert f"'{arguments[2]}' is not one of" in err


def test_quiet_prints_warnings_and_results_verbose_prints_commands_too(
    fovea: Command, workspace: Path
) -> None:
    dvc("init", "--no-scm")
    twins = dict.fromkeys(("a.png", "A.png"), b"the same name on macOS")
    folder = write(workspace / "new", twins)
    status, quiet, err = fovea("--quiet", "data", "add", str(folder), "--into", "cat")
    assert (status, err) == (0, "")
    assert quiet.startswith("1 name is there twice")
    assert quiet.count("\n") == 1
    normal = fovea("data", "add", str(folder), "--into", "dog")[1]
    assert "2 files added to data/raw (dog: 2)" in normal
    assert "dvc add" not in normal
    verbose = fovea("--verbose", "data", "add", str(folder), "--into", "owl")[1]
    assert "2 files added to data/raw (owl: 2)" in verbose
    assert "dvc add data/raw" in verbose


def test_quiet_and_verbose_at_once_are_refused(fovea: Command) -> None:
    status, _, err = fovea("--quiet", "--verbose", "doctor")
    assert status == 2
    assert "Received: both" in err


def test_a_mistake_is_one_sentence_on_stderr_and_status_1(
    fovea: Command, two_versions: Path
) -> None:
    status, out, err = fovea("promote", "7", "--reason", "so")
    assert (status, out) == (1, "")
    assert err == (
        "error: digits at sqlite:///mlflow.db has versions 1, 2 (challenger). Received: 7\n"
    )


def test_an_unreachable_mlflow_is_one_sentence(
    fovea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setattr(connection, "REMOTE_LIMIT_S", 1.0)
        status, _, err = fovea("review")
    assert status == 1
    assert err.startswith("error: MLflow cannot be used")
    assert err.count("\n") == 1


def test_a_store_that_takes_no_decision_is_one_sentence(fovea: Command, two_versions: Path) -> None:
    """As a store that this user may only read, which root cannot try."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute(f"CREATE TRIGGER t BEFORE INSERT ON registered_model_tags {refuse}")
    status, _, err = fovea("promote", "2", "--reason", "so", "--override")
    assert status == 1
    assert err.startswith("error: MLflow cannot be used (")
    assert "attempt to write a readonly database); fix this problem" in err
    assert err.count("\n") == 1


def test_ctrl_c_ends_with_130_and_no_traceback(
    fovea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str, *, as_json: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.commands.review.show_history", interrupted)
    status, _, err = fovea("history")
    assert status == 130
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("lr", "learning_rate.find_learning_rate"),
        ("balance", "balance.compare_methods"),
        ("labels", "labels.write_ranking"),
    ],
)
def test_ctrl_c_of_a_command_that_only_reads_is_one_sentence(
    fovea: Command, monkeypatch: pytest.MonkeyPatch, name: str, function: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"pipelines.commands.{function}", interrupted)
    sentence = f"fovea {name} was interrupted; nothing was changed\n"
    assert fovea(name) == (130, "", sentence)


def test_a_decision_without_a_reason_is_refused(fovea: Command, two_versions: Path) -> None:
    assert fovea("promote", "1")[0] == 2
    status, _, err = fovea("promote", "1", "--reason", " ")
    assert status == 1
    assert "--reason" in err


def test_promote_reject_rollback_and_history_tell_one_story(
    fovea: Command, two_versions: Path
) -> None:
    assert "version 1 is now the champion" in fovea("promote", "1", "--reason", "the first")[1]
    assert "version 2 is now the champion" in fovea("promote", "--reason", "better")[1]
    assert "version 1 is now the champion" in fovea("rollback", "--reason", "wrong alarms")[1]
    registered(b"three", "reject", against=1)
    assert "--override" in fovea("promote", "3", "--reason", "hm")[2]
    assert "version 1 stays the champion" in fovea("reject", "--reason", "worse")[1]
    _, out, _ = fovea("history")
    for text in ("promote 1", "1 → 2", "rollback 2", "reject 3", "the first", "wrong alarms"):
        assert text in out


def test_history_says_so_where_there_is_none(fovea: Command) -> None:
    assert "no version of digits was promoted" in fovea("history")[1]


def test_a_move_by_hand_is_judged_and_on_record_by_the_next_command(
    fovea: Command, two_versions: Path, judged: list[tuple[int, int | None]]
) -> None:
    fovea("promote", "1", "--reason", "the first")
    alias_by_hand(2)
    status, out, _ = fovea("history")
    assert status == 0
    for text in ("by hand 2", "1 → 2", "unknown, in MLflow"):
        assert text in out
    assert judged == [(2, 1)]
    assert "by hand" in fovea("history")[1]
    assert judged == [(2, 1)]


def test_a_rejected_champion_by_hand_is_said_wherever_the_champion_is_named(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    registered(b"three", "reject", against=1)
    alias_by_hand(3)
    registered(b"four", against=3)
    write_metrics()
    said = "version 3 was made the champion by hand in MLflow, although the gate rejected this"
    commands = (("review",), ("history",), ("summary",), ("explain", "champion"))
    for command in commands:
        assert said in fovea(*command)[1], command
    for command in commands:
        if command != ("summary",):
            assert said in json.loads(fovea(*command, "--json")[1])["warnings"][0]
    check = _champion(Path())
    assert (check.status, said in check.finding) == ("warn", True)
    assert said not in fovea("explain", "2")[1]
    assert "version 1 is now the champion" in fovea("rollback", "--reason", "rejected")[1]
    assert not any(said in fovea(*command)[1] for command in commands)
    assert _champion(Path()) == Check("champion", "ok", "version 1 of digits")


def test_doctor_names_a_move_by_hand_that_is_not_on_record_and_writes_nothing(
    fovea: Command, two_versions: Path
) -> None:
    assert _champion(Path()) == Check("champion", "ok", "digits has no champion yet")
    alias_by_hand(2)
    assert "not on record yet; `fovea review` judges" in _champion(Path()).finding
    assert history("digits") == ()


def test_history_says_where_a_decision_was_interrupted(fovea: Command, two_versions: Path) -> None:
    fovea("promote", "1", "--reason", "the first")
    event = {"kind": "promote", "version": 2, "from_version": 1, "to_version": 2, "who": "Ann"}
    tag = json.dumps({**event, "why": "better", "overridden": ""})
    key = f"{PREFIX}000002.20260101T000000.000000Z.00000000"
    connection.client().set_registered_model_tag("digits", key, tag)
    status, out, _ = fovea("history")
    assert status == 0
    said = "is on version 1, but the record ends with version 2: a decision was interrupted"
    assert said in out
    for command in (("review",), ("explain", "champion"), ("summary",)):
        write_metrics()
        assert said in fovea(*command)[1], command
    for command in (("review",), ("explain", "champion"), ("history",)):
        assert said in json.loads(fovea(*command, "--json")[1])["warnings"][0], command
    assert "rolled back version 2" in fovea("rollback", "--reason", "no")[1]
    assert "interrupted" not in fovea("history")[1]


def test_an_override_is_said_at_once_and_in_history(fovea: Command, two_versions: Path) -> None:
    registered(b"three", "hold")
    assert "its verdict is hold" in fovea("promote", "--reason", "needed")[2]
    objection = "its verdict is hold (every floor holds; and more)"
    _, out, _ = fovea("promote", "--override", "--reason", "needed")
    assert f"overridden, and on record: {objection}" in out
    _, out, _ = fovea("history")
    assert "promote 3 (override)" in out
    assert f"although {objection}" in out


def test_the_judge_of_a_command_is_that_of_the_stage_register(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import register

    asked = []
    monkeypatch.setattr(register, "judge_again", lambda *given: asked.append(given), raising=False)
    version, champion = (Version("digits", number, {}, (), Run(""), 0) for number in (2, 1))
    JUDGE_HERE(version, champion)
    assert asked == [(version, "digits", champion)]


def test_review_shows_both_metric_by_metric_with_intervals(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    registered(b"three", "hold", against=1)
    _, out, _ = fovea("review")
    assert "challenger: version 3" in out
    assert "champion: version 1" in out
    assert "0.900 (0.850 – 0.950)" in out
    assert "−0.010 (−0.030 – +0.020)" in out
    assert "recall of [red] glass" in out
    assert "digits: 60 test images, 95 % intervals" in out


def test_review_does_not_say_that_figures_of_shared_classes_are_of_all_images(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    registered(b"three", "hold", against=1, added=True)
    _, out, _ = fovea("review")
    assert "test images of the classes that both models know, 95 % intervals" in out
    assert "60 test images" not in out
    assert "verdict: hold" in out
    assert "has changed since the verdict" not in out


def test_what_reads_rows_starts_no_mlflow_unless_the_database_has_changed(
    fovea: Command, two_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    _, first, waits = fovea("review")
    assert waits == "waiting for MLflow (sqlite:///mlflow.db); it takes some seconds to start\n"
    code = (
        "import sys; from pipelines.commands.review import show_history, show_review; "
        "from pipelines.commands.explain import show_lineage; import pipelines.commands.summary; "
        "show_review('digits'); show_history('digits'); show_lineage('digits', '2'); "
        "print([name for name in ('mlflow', 'pandas', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "challenger: version 2" in done.stdout
    assert fovea("review") == (0, first, "")

    connection.client().set_registered_model_alias("digits", "challenger", "1")
    assert "challenger: version 1" in fovea("review")[1]


def test_a_decision_is_read_again_without_mlflow(
    fovea: Command, two_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "waiting for MLflow" in fovea("promote", "1", "--reason", "better")[2]
    _, shown, waits = fovea("history")
    assert ("better" in shown, waits) == (True, "")


def test_review_warns_where_the_champion_is_another_one_by_now(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    _, out, _ = fovea("review")
    assert "has changed since the verdict, from no champion to version 1" in out


def test_review_as_json_has_the_same_facts(fovea: Command, two_versions: Path) -> None:
    fovea("promote", "1", "--reason", "the first")
    registered(b"three", "hold", against=1)
    status, out, err = fovea("review", "--json")
    tree = json.loads(out)
    assert (status, err) == (0, "")
    assert list(tree) == [
        "name", "store", "champion", "challenger", "verdict", "warnings", "next",
    ]  # fmt: skip
    assert list(tree["challenger"]) == ["version", "model_id", "verdict", "review"]
    assert (tree["champion"]["version"], tree["champion"]["review"]) == (1, "promoted")
    assert (tree["challenger"]["version"], tree["challenger"]["verdict"]) == (3, "hold")
    verdict = tree["verdict"]
    assert (verdict["decision"], verdict["compared_with"], verdict["images"]) == ("hold", 1, 60)
    assert verdict["comparison"][2]["class_name"] == "[red] glass"
    assert verdict["comparison"][2]["champion"] == INTERVAL
    assert tree["warnings"] == []
    assert tree["next"][0] == 'fovea promote 3 --override --reason "…"'


def test_json_without_a_challenger_has_the_same_keys(fovea: Command, workspace: Path) -> None:
    status, out, _ = fovea("review", "--json")
    tree = json.loads(out)
    assert status == 0
    assert (tree["champion"], tree["challenger"], tree["verdict"]) == (None, None, None)
    assert tree["next"] == ["fovea register"]
    assert "set MLFLOW_TRACKING_URI" in tree["warnings"][0]
    empty = json.loads(fovea("history", "--json")[1])
    assert (empty["champion"], empty["events"]) == (None, [])


def test_history_as_json_has_every_field_and_nothing_else_on_stdout(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    alias_by_hand(2)
    status, out, err = fovea("history", "--json")
    assert status == 0
    assert "this is on record now" in err
    tree = json.loads(out)
    assert list(tree) == ["name", "store", "champion", "events", "warnings"]
    first, second = tree["events"]
    assert list(first) == [
        "number", "kind", "version", "from_version", "to_version", "who", "why", "when",
        "override", "overridden", "superseded",
    ]  # fmt: skip
    assert (first["number"], first["kind"], first["why"]) == (1, "promote", "the first")
    assert (second["kind"], second["from_version"], second["to_version"]) == ("by hand", 1, 2)


def test_explain_as_json_has_each_fact_or_null(fovea: Command, two_versions: Path) -> None:
    status, out, _ = fovea("explain", "2", "--json")
    tree = json.loads(out)
    assert status == 0
    assert (tree["version"], tree["aliases"], tree["verdict"]) == (2, ["challenger"], "promote")
    assert tree["lineage"]["git.commit"] == "c" * 40
    assert tree["lineage"]["split_id"] is None
    assert any(command.startswith("dvc repro") for command in tree["commands"])
    status, out, err = fovea("explain", "7", "--json")
    assert (status, out) == (1, "")
    assert err.endswith("Received: 7\n")


def test_review_without_a_challenger_says_so(fovea: Command) -> None:
    assert "digits has no challenger; no champion yet" in fovea("review")[1]


def test_explain_names_every_field_and_how_to_build_it_again(
    fovea: Command, two_versions: Path
) -> None:
    _, out, _ = fovea("explain", "2")
    for text in ("c" * 40, "feed.dir", "not recorded", "params.yaml", "dvc checkout", "dvc repro"):
        assert text in out
    assert f"git checkout {'c' * 40}" in out


def test_explain_shows_both_seeds_and_of_an_old_version_its_one_seed(
    fovea: Command, two_versions: Path
) -> None:
    tag_version("digits", 2, {"split.seed": "44", "train.seed": "17"})
    tag_version("digits", 1, {"seed": "99"})
    for version, seeds in (("2", ("44", "17")), ("1", ("99", "99"))):
        _, out, _ = fovea("explain", version)
        assert tuple(re.findall(r"seed of the \w+\W+(\d+)", out)) == seeds


def write_metrics() -> None:
    metrics = {
        "accuracy": 0.98,
        "images": 60,
        "confidence": 0.95,
        "intervals": {"accuracy": [0.97, 0.99]},
    }
    write_tree(artifacts.METRICS, metrics)


def test_summary_names_the_three_next_commands(fovea: Command) -> None:
    registered(b"one")
    write_metrics()
    _, out, _ = fovea("summary")
    for text in ("0.9800 (95 % interval 0.9700 – 0.9900", "digits, version 1", "promote; every"):
        assert text in out
    for command in ("fovea review", "fovea promote 1", "fovea ui"):
        assert command in out


def summary(fovea: Command) -> tuple[dict[str, str], str]:
    """Return the facts that `fovea summary` shows, and the second command that it advises."""
    write_metrics()
    lines = fovea("summary")[1].splitlines()
    facts = re.findall(r"^  (\w+(?: \w+)?)  +(\S.*)$", "\n".join(lines), re.MULTILINE)
    return {label: fact.strip() for label, fact in facts}, lines[-2].strip()


def test_summary_names_the_page_of_a_search_if_there_was_one(fovea: Command) -> None:
    registered(b"one")
    write_table(artifacts.TRIALS, pd.DataFrame({"trial": [], "val_macro_f1": []}))
    assert "search" not in summary(fovea)[0]
    write_table(artifacts.TRIALS, pd.DataFrame({"trial": [0, 1], "val_macro_f1": [0.9, 0.8]}))
    assert summary(fovea)[0]["search"] == "2 trials, see data/search/study.html"


def test_summary_of_an_older_commit_shows_its_version_the_decision_and_the_champion(
    fovea: Command, two_versions: Path
) -> None:
    fovea("promote", "1", "--reason", "the first")
    fovea("promote", "2", "--reason", "better")
    workspace_has(b"one", 1)
    facts, command = summary(fovea)
    assert facts["verdict"] == "promote; every floor holds; and more"
    assert (facts["judged"], facts["champion"]) == ("without a champion", "version 2")
    assert facts["decision"].startswith("promoted as version 1 by ")
    assert command == "fovea explain 1"


def test_summary_shows_a_rejection_and_advises_no_promotion(
    fovea: Command, two_versions: Path
) -> None:
    assert summary(fovea)[1] == 'fovea promote 2 --reason "…"'
    fovea("reject", "2", "--reason", "a leak")
    facts, command = summary(fovea)
    assert re.fullmatch("rejected as version 2 by .*: a leak", facts["decision"])
    assert (facts["champion"], command) == ("none", "fovea explain 2")


def test_summary_shows_the_last_verdict_of_a_version_that_was_judged_again(
    fovea: Command, two_versions: Path
) -> None:
    tag_version("digits", 2, {"verdict": "hold", "reasons": "the same", "compared_with": "3"})
    facts, _ = summary(fovea)
    assert (facts["verdict"], facts["judged"]) == ("hold; the same", "against version 3")


def test_summary_in_an_empty_store_says_where_the_verdict_was_made(
    fovea: Command, two_versions: Path, empty_store: Path
) -> None:
    verdict = read_tree(artifacts.VERDICT)
    elsewhere = {"store": "https://mlflow.example.org", "model_id": sha(b"two"), "champion": 3}
    write_tree(artifacts.VERDICT, {**verdict, **elsewhere, "decision": "reject"})
    shutil.copy(empty_store, "mlflow.db")
    facts, _ = summary(fovea)
    assert facts["verdict"].startswith("reject; ")
    judged = "in https://mlflow.example.org (as it was then), against version 3"
    assert (facts["judged"], facts["champion"]) == (judged, "none")


def test_review_advises_register_where_a_decision_would_be_refused(
    fovea: Command, two_versions: Path
) -> None:
    workspace_has(b"three", None)  # as after `dvc exp apply`
    assert "next: fovea register\n" in fovea("review")[1]
    tree = json.loads(fovea("review", "--json")[1])
    assert tree["next"] == ["fovea register", "fovea explain 2"]
    assert summary(fovea)[1] == "next:"  # `fovea register` is the only command


def test_review_says_that_its_challenger_was_rejected_or_is_the_champion(
    fovea: Command, two_versions: Path
) -> None:
    """The process of the decision was killed before it took the alias `challenger` away."""
    fovea("reject", "2", "--reason", "a leak")
    connection.client().set_registered_model_alias("digits", "challenger", "2")
    tree = json.loads(fovea("review", "--json")[1])
    assert tree["warnings"] == [
        "the challenger is version 2, but a reviewer rejected this version (a leak)"
    ]
    assert tree["next"][:2] == [
        'fovea reject 2 --reason "…"', 'fovea promote 2 --override --reason "…"'
    ]  # fmt: skip
    fovea("promote", "2", "--override", "--reason", "no leak")
    connection.client().set_registered_model_alias("digits", "challenger", "2")
    assert "next: fovea history\n" in fovea("review")[1]


def test_a_lost_champion_is_said_and_gone_back_to(fovea: Command, two_versions: Path) -> None:
    fovea("promote", "1", "--reason", "the first")
    fovea("promote", "2", "--reason", "better")
    connection.client().delete_registered_model_alias("digits", "champion")
    _, out, _ = fovea("review")
    assert "no champion now, but earlier ones: `fovea rollback` goes back" in out
    assert "there is no champion, because the alias champion was removed in MLflow" in out
    assert json.loads(fovea("review", "--json")[1])["next"][0].startswith("fovea rollback")
    done = "went back to version 2 of digits; version 2 is now the champion"
    assert done in fovea("rollback", "--reason", "somebody must serve")[1]


def test_a_rejection_without_a_champion_says_that_there_is_none(
    fovea: Command, two_versions: Path
) -> None:
    out = fovea("reject", "2", "--reason", "a leak")[1]
    assert out == "rejected version 2 of digits; there is no champion\n"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def workspace_has(content: bytes, version: int | None) -> None:
    """Put a model, and a verdict on it, into the workspace."""
    artifacts.MODEL.write_bytes(content)
    verdict = read_tree(artifacts.VERDICT)
    write_tree(artifacts.VERDICT, {**verdict, "model_id": sha(content), "version": version})


def test_summary_looks_a_version_up_by_the_content_of_the_model(
    fovea: Command, two_versions: Path
) -> None:
    intervals = {"accuracy": [0.97, 0.99]}
    metrics = {"accuracy": 0.98, "images": 60, "confidence": 0.95, "intervals": intervals}
    write_tree(artifacts.METRICS, metrics)
    workspace_has(b"two", 1)  # as in another MLflow
    _, out, _ = fovea("summary")
    assert "digits, version 2, at sqlite:///mlflow.db" in out
    assert sha(b"two") in out
    assert "fovea promote 2" in out
    workspace_has(b"three", None)
    _, out, _ = fovea("summary")
    assert "no: digits at sqlite:///mlflow.db has no version of this model" in out
    assert out.splitlines()[-1] == "  fovea register"
    artifacts.MODEL.write_bytes(b"trained, and not judged yet")
    _, out, _ = fovea("summary")
    assert "none for this model; run `dvc repro`" in out
    assert out.splitlines()[-1] == "  dvc repro"


@pytest.mark.parametrize("command", ["promote", "reject"])
@pytest.mark.parametrize(
    ("content", "version", "wanted", "advice"),
    [
        (b"one", 1, [], "this model is version 1: give the number of the version that you mean"),
        (b"one", 1, ["challenger"], "this model is version 1: give the number"),
        (b"one", 2, ["2"], "this model is version 1: give the number"),
        (b"three", 1, ["1"], "`fovea register` registers this model"),
        (b"three", None, ["1"], "`fovea register` registers this model"),
        (b"three", None, [], "`fovea register` registers this model"),
    ],
    ids=["older commit", "its alias", "other store", "pulled", "applied", "applied, by alias"],
)
def test_a_decision_on_another_model_than_the_one_of_the_workspace_is_refused(
    command: str,
    fovea: Command,
    two_versions: Path,
    content: bytes,
    version: int | None,
    wanted: list[str],
    advice: str,
) -> None:
    workspace_has(content, version)
    status, _, err = fovea(command, *wanted, "--reason", "better")
    assert (status, advice in err) == (1, True), err
    assert f"sha256 is {sha(content)[:12]}…" in err
    assert [version.aliases for version in versions("digits")] == [(), ("challenger",)]


def test_review_says_if_the_challenger_is_not_the_model_of_the_workspace(
    fovea: Command, two_versions: Path
) -> None:
    workspace_has(b"two", 2)
    assert "of this workspace" not in fovea("review")[1]
    workspace_has(b"one", 1)
    assert "is not the model of this workspace, which is version 1" in fovea("review")[1]
    workspace_has(b"three", None)
    _, out, _ = fovea("review")
    assert f"(sha256 {sha(b'three')[:12]}…) has no version at sqlite:///mlflow.db" in out
    assert "`fovea register` registers it" in out


@pytest.mark.parametrize(
    ("content", "version", "wanted"),
    [(b"two", 2, []), (b"two", 1, ["2"]), (b"one", 1, ["2"]), (b"one", None, ["2"])],
    ids=["the challenger", "its number here", "another number", "registered later"],
)
def test_promote_takes_the_version_that_the_workspace_or_the_user_means(
    fovea: Command, two_versions: Path, content: bytes, version: int | None, wanted: list[str]
) -> None:
    workspace_has(content, version)
    assert "version 2 is now the champion" in fovea("promote", *wanted, "--reason", "better")[1]


def test_explain_names_the_commit_whose_dvc_lock_has_the_model(
    fovea: Command, two_versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no commit with this model in its dvc.lock was found" in fovea("explain", "2")[1]
    md5 = hashlib.md5(b"two", usedforsecurity=False).hexdigest()
    Path("dvc.lock").write_text(f"stages:\n  train:\n    outs:\n    - md5: {md5}\n")
    git(two_versions, "init")
    git(two_versions, "add", "dvc.lock")
    git(two_versions, "commit", "-m", "the results")
    head = git(two_versions, "rev-parse", "HEAD")
    # An older Fovea wrote no tag dvc.model, so the file of the workspace is looked at.
    _, out, _ = fovea("explain", "2")
    assert f"git checkout {head}   # its dvc.lock has this model" in out
    assert "make the same changes again" not in out
    artifacts.MODEL.unlink()
    assert head not in fovea("explain", "2")[1]
    tag_version("digits", 2, {"dvc.model": md5, "dvc.experiment": "puffy-unau"})
    _, out, _ = fovea("explain", "2")
    assert head in out
    assert "puffy-unau" in out


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_summary_before_any_run_says_what_to_run(fovea: Command) -> None:
    assert "run `dvc repro evaluate` first" in fovea("summary")[2]


def test_sample_digits_are_tracked_and_never_overwrite(fovea: Command, workspace: Path) -> None:
    dvc("init", "--no-scm")
    status, out, err = fovea("sample", "digits")
    assert status == 0, err
    assert "next: dvc repro" in out
    assert len(list(artifacts.RAW.rglob("*.png"))) == 1_797
    assert json.dumps("outs")[1:-1] in Path("data/raw.dvc").read_text()
    status, _, err = fovea("sample", "digits")
    assert status == 1
    assert "Received: 10 entries" in err
    shutil.rmtree(artifacts.RAW)
    assert "dvc checkout" in fovea("sample", "digits")[2]


def test_sample_writes_nothing_outside_of_the_root(fovea: Command) -> None:
    Path("params.yaml").unlink()
    assert "run from the repository's root" in fovea("sample", "digits")[2]
    assert not artifacts.RAW.exists()


def test_sample_says_so_where_dvc_cannot_track_it(fovea: Command) -> None:
    status, _, err = fovea("sample", "digits")
    assert status == 1
    assert "run `dvc add data/raw`" in err
    assert len(list(artifacts.RAW.iterdir())) == 10


def processes_of(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pgid=,pid="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if line.split()[0] == str(group)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ui_serves_the_page_and_leaves_no_process_behind(
    workspace: Path, how: signal.Signals
) -> None:
    command = [*FOVEA, "ui", "--port", "5230"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ui = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert ui.stdout is not None
    page = ui.stdout.readline().split()[2]
    assert page.startswith("http://127.0.0.1:52")
    with urllib.request.urlopen(page, timeout=10) as answer:
        assert b"MLflow" in answer.read()
    children = psutil.Process(ui.pid).children()
    ui.send_signal(how)
    assert ui.wait(timeout=15) == 0
    ui.stdout.close()
    assert [processes_of(child.pid) for child in children] == [[]]


def test_ui_of_a_remote_server_is_its_address(
    fovea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:s3cret@mlflow.example.org")
    for command in (["ui"], ["--quiet", "ui"]):
        page = "https://mlflow.example.org/#/models/digits"
        assert fovea(*command)[1] == f"MLflow's page: {page}\n"


def test_doctor_fails_where_a_check_fails(fovea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("git", "ok", "clean"), Check("mlflow", "fail", "gone", "start it")]
    monkeypatch.setattr("pipelines.commands.doctor.examine", lambda: checks)
    status, out, _ = fovea("doctor")
    assert status == 1
    assert "→ start it" in out
    monkeypatch.setattr("pipelines.commands.doctor.examine", lambda: checks[:1])
    assert fovea("doctor")[0] == 0


def test_doctor_prints_a_check_while_others_still_run(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def checks() -> Iterator[Check]:
        yield Check("git", "ok", "clean")
        shown.append(capsys.readouterr().out)
        yield Check("mlflow", "fail", "a b c " * 40, "start it")

    shown: list[str] = []
    assert not show_checks(checks())
    assert shown[0].rstrip() == "ok    git       clean"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fail  mlflow    a b c")
    assert lines[-1].strip() == "→ start it"
