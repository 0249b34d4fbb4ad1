"""What earlier stages have logged while MLflow did not answer → MLflow, each record once."""

import logging

from components.errors import UserError
from components.tracking.connection import address, connect, while_mlflow_answers
from components.tracking.delivery import deliver_waiting
from components.tracking.journal_files import count_waiting, journal_folders
from components.words import count_text
from pipelines.commands.console import show_lines

log = logging.getLogger(__name__)


def deliver_records() -> bool:
    """Deliver all records that wait, and print what was delivered. Return whether none is left.

    A stage that is running delivers its own records, so they do not count. Raises UserError within
    15 s if MLflow does not answer; then the records still wait.
    """
    if not journal_folders():
        show_lines("nothing waits for MLflow")
        return True
    try:
        connect()
        done = while_mlflow_answers(deliver_waiting)
    except UserError as error:
        left = count_text(count_waiting()[0], "record waits", "records wait")
        raise UserError(f"{left} on the disk, because {error}") from None
    show_lines(f"delivered to MLflow ({address()}): {count_text(done.delivered, 'record')}")
    if done.in_use:
        runs = count_text(done.in_use, "run")
        show_lines(f"not counted: {runs} of stages that run now, which deliver their own records")
    for reason in done.reasons:
        log.warning(f"left: {reason}")
    if done.reasons:
        log.warning("the next stage tries again; to give such records up, delete their folder")
    return not done.reasons
