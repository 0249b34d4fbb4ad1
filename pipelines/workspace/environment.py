"""The process' environment → one in which no library sends telemetry or prints needless messages.

Only variables that are not set yet are set, so a user who wants telemetry can switch it on.
"""

import logging
import os

QUIET = {
    "DO_NOT_TRACK": "1",  # Prefect's client, MLflow
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    # What the code logs goes to the task run that it belongs to, and outside of one nowhere.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "components,pipelines",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's start-up notes
    "ABSL_MIN_LOG_LEVEL": "2",
}


def quiet_vendors() -> None:
    """Set the variables of QUIET that are not set; call it before such a library is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Grain's message that JAX is missing
