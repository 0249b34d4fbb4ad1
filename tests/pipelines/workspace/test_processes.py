"""Commands → every line seen, every process gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.workspace import processes
from tests.pipelines.processes import group_lives

STUBBORN = """
import os, signal, subprocess, sys, time
for how in (signal.SIGINT, signal.SIGTERM):
    signal.signal(how, signal.SIG_IGN)
if len(sys.argv) == 1:  # a child of its own, as deaf as its parent
    subprocess.Popen([sys.executable, __file__, "child"])
print(os.getpgrp(), flush=True)
time.sleep(600)
"""


def run_python(code: str, said: list[str]) -> None:
    processes.run([sys.executable, "-c", code], processes.stage_environment({}), said.append)


def test_lines_arrive_while_the_command_runs() -> None:
    arrived: list[float] = []
    code = "import time; print('first'); time.sleep(0.5); print('second')"
    command = [sys.executable, "-c", code]
    processes.run(
        command, processes.stage_environment({}), lambda _: arrived.append(time.monotonic())
    )
    assert arrived[1] - arrived[0] > 0.4


def test_lines_go_to_the_logger_where_no_function_is_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [sys.executable, "-c", "print('first'); print('second')"]
    processes.run(command, processes.stage_environment({}))
    assert capsys.readouterr().out == "first\nsecond\n"


def test_a_failing_command_is_quoted_by_its_own_sentence() -> None:
    code = "import sys; print('reading'); sys.exit('error: no data/raw. Received: nothing')"
    with pytest.raises(processes.CommandFailedError, match=r"^no data/raw. Received: nothing$"):
        run_python(code, [])


def test_a_command_that_fails_without_a_sentence_is_quoted_by_its_last_lines() -> None:
    with pytest.raises(
        processes.CommandFailedError, match=r"exited with 1(.|\n)*ZeroDivisionError"
    ):
        run_python("1 / 0", [])


def test_dvc_is_quoted_by_its_own_sentence_only_if_dvc_itself_failed() -> None:
    missing = "failed to reproduce 'ingest': [Errno 2] No such file or directory: 'data/raw'"
    with pytest.raises(processes.CommandFailedError) as caught:
        run_python(f"""import sys; print("ERROR: {missing}"); sys.exit(255)""", [])
    assert str(caught.value) == f"DVC: {missing}"
    stage = "failed to reproduce 'train': failed to run: python -m pipelines train, exited with 1"
    code = f"""import sys; print("MemoryError"); print("ERROR: {stage}"); sys.exit(255)"""
    with pytest.raises(processes.CommandFailedError, match="MemoryError"):
        run_python(code, [])


def test_the_environment_starts_with_this_interpreter() -> None:
    said: list[str] = []
    command = ["sh", "-c", "command -v python; echo $EXTRA $DO_NOT_TRACK"]
    processes.run(command, processes.stage_environment({"EXTRA": "x"}), said.append)
    assert said == [str(Path(sys.executable).with_name("python")), "x 1"]


def test_the_signals_leave_two_of_ten_seconds_for_what_is_killed() -> None:
    assert sum(patience_s for _, patience_s in processes.PATIENCE_S) <= 10 - 2


def test_an_exception_ends_even_processes_deaf_to_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = ((how, 0.5) for how, _ in processes.PATIENCE_S)
    monkeypatch.setattr(processes, "PATIENCE_S", tuple(patience))
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    groups: list[int] = []

    def interrupt_after_both_spoke(line: str) -> None:
        if line.isdigit():
            groups.append(int(line))
            if len(groups) == 2:
                raise KeyboardInterrupt

    command = [sys.executable, str(script)]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        processes.run(command, processes.stage_environment({}), interrupt_after_both_spoke)
    assert time.monotonic() - started < 10
    assert groups[0] == groups[1]
    assert not group_lives(groups[0])


def test_a_second_interrupt_does_not_spare_the_group(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()

    def second_interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.end_group(process, second_interrupt)
    assert not group_lives(process.pid)


@pytest.mark.parametrize("silent", [True, False])
def test_what_a_finished_command_left_running_is_ended(silent: bool) -> None:
    said: list[str] = []
    output = "subprocess.DEVNULL" if silent else "None"  # None: it holds the command's own open
    code = (
        "import subprocess, os\n"
        f"subprocess.Popen(['sleep', '60'], stdout={output}, stderr={output})\n"
        "print(os.getpgrp())"
    )
    started = time.monotonic()
    run_python(code, said)
    assert time.monotonic() - started < 10
    assert not group_lives(int(said[0]))


def test_a_daemon_that_left_the_group_is_not_waited_for() -> None:
    code = "import subprocess\nprint(subprocess.Popen(['sleep', '20'], start_new_session=True).pid)"
    said: list[str] = []
    started = time.monotonic()
    run_python(code, said)
    assert time.monotonic() - started < 10
    os.kill(int(said[0]), signal.SIGKILL)


def test_carriage_returns_end_lines_and_broken_signs_are_replaced() -> None:
    said: list[str] = []
    run_python(r"import os; os.write(1, b'1 %\r2 %\r\nM\xc3\xbcll\n\xff')", said)
    assert said == ["1 %", "2 %", "M\u00fcll", "\ufffd"]


def test_a_folder_of_dvc_that_is_read_only_is_answered_with_the_variable_that_names_another() -> (
    None
):
    said = "ERROR: unexpected error - [Errno 30] Read-only file system: '/var/tmp/dvc'\n"
    assert processes.dvc_error(said) == (
        "[Errno 30] Read-only file system: '/var/tmp/dvc'; set DVC_SITE_CACHE_DIR to a folder that "
        "you can write"
    )
