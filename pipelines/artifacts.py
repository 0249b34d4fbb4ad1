"""The name of a file that stages exchange → its path; stages have no other interface.

Paths are relative to the repository's root, where every command runs. pipelines/formats.py reads
and writes these files.
"""

from pathlib import Path

RAW = Path("data/raw")

MANIFEST = Path("data/ingest/manifest.parquet")

ACCEPTED = Path("data/validate/accepted.parquet")
QUARANTINE = Path("data/validate/quarantine.parquet")
VALIDATION_REPORT = Path("data/validate/report.json")
DUPLICATES = Path("data/validate/duplicates.parquet")
VALIDATION_PAGE = Path("data/validate/report.html")
DATA_DOCS = Path("data/validate/docs")

SPLITS = Path("data/split/splits.parquet")
SET_ASIDE = Path("data/split/set_aside.parquet")
SHARES = Path("data/split/shares.csv")
LEAKS = Path("data/split/leaks.csv")

STATISTICS = Path("data/prepare/statistics.json")

PLAN = Path("data/balance/plan.json")
COUNTS = Path("data/balance/counts.csv")

HYPERPARAMETERS = Path("data/search/hyperparameters.yaml")
TRIALS = Path("data/search/trials.csv")
STUDY_PLOT = Path("data/search/study.svg")

MODEL = Path("data/train/model.keras")
HISTORY = Path("data/train/history.csv")

METRICS = Path("data/evaluate/metrics.json")
PREDICTIONS = Path("data/evaluate/predictions.parquet")
CONFUSION = Path("data/evaluate/confusion.csv")
CURVES = Path("data/evaluate/curves")
REPORT = Path("data/evaluate/report.html")

VERDICT = Path("data/register/verdict.json")

# Stages do not exchange the files of this folder, and DVC does not track them. The folder has
# studies that can continue after an interruption, locks and cached features.
STATE = Path(".fovea")


def images(split: str) -> Path:
    """Return the path of the pixels of a split, uint8 [N, size, size, 3]; `prepare` writes them."""
    return Path(f"data/prepare/{split}.images.npy")


def rows(split: str) -> Path:
    """Return the path of the manifest rows of a split, in the order of its pixels."""
    return Path(f"data/prepare/{split}.parquet")
