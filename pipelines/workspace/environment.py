"""The process' environment → one in which no vendor phones home or chatters.

Only names that are not set yet are set, so whoever wants a vendor's telemetry can have it.
"""

import logging
import os

QUIET = {
    "DO_NOT_TRACK": "1",  # Prefect's client, MLflow
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's start-up notes
    "ABSL_MIN_LOG_LEVEL": "2",
}


def quiet_vendors() -> None:
    """Set what is missing of QUIET; to be called before a vendor is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Grain's word that JAX is not there
