"""The table history.csv → charts of the training, with the epoch that was kept."""

import pandas as pd

from components.pages.charts import LineChart, line_chart

# The title of each chart, the names of its lines, and the column of history.csv for each line.
CURVES = {
    "Loss": {"train": "loss", "val": "val_loss"},
    "Accuracy": {"train": "accuracy", "val": "val_accuracy"},
}
# The name of a training phase in history.csv → its name on the page.
PHASES = {"head": "head", "finetune": "fine-tune"}


def history_charts(history: pd.DataFrame) -> list[LineChart]:
    """Return a chart of the loss and a chart of the accuracy over the epochs.

    Each chart has a line for train and a line for val. history: one row for each epoch, with the
    columns phase, kept, loss, accuracy, val_loss and val_accuracy; `kept` is True for the epoch
    whose weights the model has. Returns an empty list if `history` has no row.
    """
    if history.empty:
        return []
    phases = [PHASES.get(phase, phase) for phase in history["phase"]]
    kept = history["kept"].tolist().index(True) + 1 if history["kept"].any() else None
    return [
        line_chart(title, {name: history[key].tolist() for name, key in keys.items()}, phases, kept)
        for title, keys in CURVES.items()
    ]


def kept_epoch(history: pd.DataFrame) -> str:
    """Return the epoch that was kept in words, such as `epoch 7 of the phase fine-tune`.

    The result is empty if no epoch was kept, as in a training without epochs.
    """
    kept = history[history["kept"]]
    if kept.empty:
        return ""
    row = kept.iloc[0]
    return f"epoch {row['epoch']} of the phase {PHASES.get(row['phase'], row['phase'])}"
