"""The model of this workspace → a version in MLflow, also if `dvc repro` has nothing to run.

DVC runs the stage `register` only after a change in the workspace. It does not look at MLflow. So
after `dvc exp apply`, after `dvc pull`, with another MLflow, or if the version was deleted in
MLflow, DVC finds nothing to run, and MLflow has no version of the model.
"""

from pathlib import Path

from components.errors import UserError
from pipelines.commands.console import show_lines
from pipelines.workspace import locks
from pipelines.workspace.dvc_plan import DVC_YAML, plan, read_stages
from pipelines.workspace.processes import DVC, CommandFailedError, run, stage_environment

STAGE = "register"


def register_model() -> None:
    """Run the stage `register` once, although DVC finds nothing to run.

    Raises UserError if a stage before `register` is not up to date, because then the model is not
    the result of the params, the images and the code in this workspace. Raises UserError with the
    reason if DVC or the stage fails.
    """
    stages = read_stages(DVC_YAML)
    command = [*DVC, "--wait-for-lock", "repro", "--force", "--single-item", STAGE]
    with locks.hold(Path(), "fovea register") as lock:
        try:
            changed = sorted(plan(stages).listed - {STAGE})
            if changed:
                raise UserError(
                    "the model of this workspace does not belong to its present params, images and "
                    "code; run `dvc repro`, which also registers the new model, or `dvc pull` if "
                    f"files are missing. Received: changed: {', '.join(changed)}"
                )
            environment = stage_environment({})
            locks.when_dvc_is_free(Path(), lambda: run(command, environment, keep_open=[lock]))
        except CommandFailedError as error:
            raise UserError(str(error)) from None
    show_lines("next: fovea review")
