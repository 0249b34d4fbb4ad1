"""How busy the machine is → MLflow, while a stage works, and never in its way."""

import time
from pathlib import Path

import pytest

from components.tracking import system_metrics as module
from components.tracking.connection import client
from components.tracking.runs import Run, start_run
from components.tracking.system_metrics import system_metrics
from tests.components.origins import ORIGIN

CPU = "system/cpu_utilization_percentage"


def test_samples_of_the_machine_are_in_mlflow_as_its_page_expects(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(module.INTERVAL, "0.05")
    with start_run("train", ORIGIN, {}) as run, system_metrics(run):
        time.sleep(0.5)
    metrics = client().get_run(run.id).data.metrics
    assert {CPU, "system/system_memory_usage_megabytes", "system/disk_usage_percentage"} <= set(
        metrics
    )
    steps = [sample.step for sample in client().get_metric_history(run.id, CPU)]
    assert len(steps) > 2
    assert steps == list(range(len(steps)))


def test_a_short_block_has_one_sample(workspace: Path) -> None:
    with start_run("train", ORIGIN, {}) as run, system_metrics(run):
        pass
    assert len(client().get_metric_history(run.id, CPU)) == 1


def test_they_can_be_turned_off(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.SWITCH, "false")
    with start_run("train", ORIGIN, {}) as run, system_metrics(run):
        pass
    assert not client().get_run(run.id).data.metrics


class Broken:
    """A collector whose driver has gone away."""

    def collect_metrics(self) -> None:
        raise RuntimeError("the driver has gone away")


@pytest.mark.parametrize("interval", ["0.01", "ten seconds"])
def test_a_sampler_that_fails_says_so_once_and_the_work_goes_on(
    interval: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(module.INTERVAL, interval)
    monkeypatch.setattr(module, "_collectors", lambda: [Broken()])
    with system_metrics(Run("none")):
        time.sleep(0.1)
    assert capsys.readouterr().out.count("goes no longer to MLflow") == 1


def test_a_collector_that_does_not_work_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.system_metrics.metrics import disk_monitor

    monkeypatch.setattr(disk_monitor, "DiskMonitor", Broken)
    names = [type(collector).__name__ for collector in module._collectors()]
    assert "CPUMonitor" in names
    assert "Broken" not in names


def test_an_error_in_the_block_comes_through_and_ends_the_thread(workspace: Path) -> None:
    with (
        pytest.raises(ValueError, match="of the work"),
        start_run("train", ORIGIN, {}) as run,
        system_metrics(run),
    ):
        raise ValueError("of the work")
    assert not client().get_run(run.id).data.metrics
