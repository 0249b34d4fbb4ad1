"""The name of a file that a stage writes → the path of the file.

Stages exchange data only through these files. Paths are relative to the repository's root, where
every command runs. pipelines/formats.py reads and writes the tables and the JSON, YAML and text
files.
"""

from pathlib import Path

RAW = Path("data/raw")

MANIFEST = Path("data/ingest/manifest.parquet")

ACCEPTED = Path("data/validate/accepted.parquet")
QUARANTINE = Path("data/validate/quarantine.parquet")
VALIDATION_REPORT = Path("data/validate/report.json")
DUPLICATES = Path("data/validate/duplicates.parquet")
LABEL_SCORES = Path("data/validate/label_scores.parquet")
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
IMPORTANCES = Path("data/search/importances.csv")
STUDY_PLOT = Path("data/search/study.svg")
STUDY_PAGE = Path("data/search/study.html")

MODEL = Path("data/train/model.keras")
HISTORY = Path("data/train/history.csv")
CALIBRATION = Path("data/train/calibration.json")
AUGMENTED = Path("data/train/augmented.png")

METRICS = Path("data/evaluate/metrics.json")
PREDICTIONS = Path("data/evaluate/predictions.parquet")
CONFUSION = Path("data/evaluate/confusion.csv")
CLASSES = Path("data/evaluate/classes.csv")
SLICES = Path("data/evaluate/slices.csv")
OPERATING_POINT = Path("data/evaluate/operating_point.csv")
ROBUSTNESS = Path("data/evaluate/robustness.csv")
CURVES = Path("data/evaluate/curves")
REPORT = Path("data/evaluate/report.html")

VERDICT = Path("data/register/verdict.json")
REGISTER_REPORT = Path("data/register/report.html")
MODEL_CARD = Path("data/register/model_card.md")

# The files in this folder pass no data from one stage to another, and DVC does not track them.
# Examples are locks, caches, and unfinished Optuna studies, which a later run can continue.
STATE = Path(".fovea")


def images(split: str) -> Path:
    """Return the path of the pixels of a split, an array uint8 [N, size, size, 3].

    split: the name of the split, `train`, `val` or `test`. The stage `prepare` writes the file.
    """
    return Path(f"data/prepare/{split}.images.npy")


def rows(split: str) -> Path:
    """Return the path of the table with the manifest rows of a split.

    Row i of the table describes image i of the file `images(split)`.
    """
    return Path(f"data/prepare/{split}.parquet")
