"""labels, sets → the fold of each row: each label in every fold, each set in one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDS = 5


def folds_of(labels: NDArray[np.intp], sets: Sequence[Any]) -> NDArray[np.intp]:
    """Return the fold of each row, 0 to FOLDS - 1.

    labels: ints [N]. sets: names or numbers [N]; what is equal there stays together, so that no
    copy is judged by what was learned from its twin. The sets of a label are dealt out in turn, in
    the order in which they sort; a set of several labels counts under its first row's.
    """
    rows = pd.DataFrame({"set": sets, "label": labels}).drop_duplicates("set")
    rows = rows.sort_values(["label", "set"])
    dealt = pd.Series((rows.groupby("label").cumcount() % FOLDS).to_numpy(), index=rows["set"])
    folds: NDArray[np.intp] = pd.Series(sets).map(dealt).to_numpy(np.intp)
    return folds
