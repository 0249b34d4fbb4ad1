"""What every benchmark that trains does first: no messages but its own."""

import logging
import os

from pipelines.workspace.environment import quiet_vendors
from pipelines.workspace.messages import QUIET, show_messages


def start_quietly() -> None:
    """Silence TensorFlow, the other packages and the stages, all but warnings of the stages."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise `fit` of Keras writes errors
    quiet_vendors()
    show_messages(level=QUIET)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of a new network each time
