import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.registry.versions import register_version, tag_version, versions
from components.tracking import connection
from components.tracking.runs import start_run
from pipelines import artifacts
from pipelines.commands.console import show_checks
from pipelines.commands.doctor import Check
from pipelines.commands.fovea import main
from pipelines.formats import read_tree, write_tree
from pipelines.workspace.messages import show_messages
from tests.cards import DIGITS
from tests.components.origins import ORIGIN
from tests.pipelines.versioned import write

ROOT = Path(__file__).parents[3]
FOVEA = [sys.executable, "-m", "pipelines.commands.fovea"]
COMMANDS = [
    "init",
    "sample",
    "doctor",
    "labels",
    "register",
    "review",
    "promote",
    "reject",
    "rollback",
    "history",
    "explain",
    "ui",
    "summary",
]
INTERVAL = {"value": 0.9, "low": 0.85, "high": 0.95}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if "TELEMETRY" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, "mlflow.db")
    shutil.copy(DIGITS, "params.yaml")
    return tmp_path


@pytest.fixture
def fovea(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command in this process; return exit status, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fovea", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        show_messages()  # what follows in this process is neither quiet nor verbose
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def two_versions(workspace: Path) -> Path:
    for content in (b"one", b"two"):
        registered(content)
    return workspace


def registered(content: bytes, decision: str = "promote", against: int | None = None) -> int:
    """Register bytes as `register` does, with a verdict on two classes."""
    artifacts.MODEL.parent.mkdir(parents=True, exist_ok=True)
    artifacts.MODEL.write_bytes(content)
    both = {"challenger": INTERVAL, "champion": INTERVAL if against else None}
    difference = {"value": -0.01, "low": -0.03, "high": 0.02} if against else None
    rows = [
        {"metric": metric, "class_name": name, **both, "difference": difference}
        for metric, name in (("accuracy", None), ("macro_f1", None), ("recall", "[red] glass"))
    ]
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


def test_quiet_prints_warnings_and_results_verbose_prints_commands_too(
    fovea: Command, workspace: Path
) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
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
    assert "dvc add --quiet data/raw" in verbose


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


def test_ctrl_c_ends_with_130_and_no_traceback(
    fovea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.commands.review.show_history", interrupted)
    status, _, err = fovea("history")
    assert status == 130
    assert "Traceback" not in err


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
    registered(b"three", "reject")
    assert "--override" in fovea("promote", "3", "--reason", "hm")[2]
    assert "version 1 stays the champion" in fovea("reject", "--reason", "worse")[1]
    _, out, _ = fovea("history")
    for text in ("promote 1", "1 → 2", "rollback 2", "reject 3", "the first", "wrong alarms"):
        assert text in out


def test_history_says_so_where_there_is_none(fovea: Command) -> None:
    assert "no version of digits was promoted" in fovea("history")[1]


def test_history_says_where_the_alias_has_left_the_record(
    fovea: Command, two_versions: Path
) -> None:
    from components.tracking.connection import client

    fovea("promote", "1", "--reason", "the first")
    client().set_registered_model_alias("digits", "champion", "2")
    _, out, _ = fovea("history")
    assert "is on version 2, but the record ends with version 1" in out


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


def test_summary_names_the_three_next_commands(fovea: Command) -> None:
    registered(b"one")
    metrics = {
        "accuracy": 0.98,
        "images": 60,
        "confidence": 0.95,
        "intervals": {"accuracy": [0.97, 0.99]},
    }
    write_tree(artifacts.METRICS, metrics)
    _, out, _ = fovea("summary")
    for text in ("0.9800 (95 % interval 0.9700 – 0.9900", "digits, version 1", "promote; every"):
        assert text in out
    for command in ("fovea review", "fovea promote 1", "fovea ui"):
        assert command in out


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
def test_promote_refuses_a_version_that_is_not_the_model_of_the_workspace(
    fovea: Command,
    two_versions: Path,
    content: bytes,
    version: int | None,
    wanted: list[str],
    advice: str,
) -> None:
    workspace_has(content, version)
    status, _, err = fovea("promote", *wanted, "--reason", "better")
    assert (status, advice in err) == (1, True), err
    assert f"sha256 is {sha(content)[:12]}…" in err
    assert "champion" not in [alias for each in versions("digits") for alias in each.aliases]


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
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
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
        assert fovea(*command)[1] == "MLflow's page: https://mlflow.example.org\n"


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
