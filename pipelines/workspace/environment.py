"""Environment variables of this process → the same, and variables that switch off telemetry.

Some of the added variables hide unimportant messages of libraries. A variable that is already set
keeps its value. So a user can switch telemetry on.
"""

import logging
import os

QUIET = {
    "DO_NOT_TRACK": "1",  # Prefect's client and MLflow read this variable.
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    # Prefect shows the messages of these loggers in the task run or flow run that wrote them.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components,pipelines",
    # A message that is logged outside of a flow run is not sent to Prefect.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # hides messages of TensorFlow when it starts
    "ABSL_MIN_LOG_LEVEL": "2",
}


def quiet_vendors() -> None:
    """Set the variables of QUIET that are not set. Call this before the libraries are imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("absl").setLevel(logging.ERROR)  # hides Grain's message that JAX is missing
