"""The address of a database and the name of a search → its studies, one for each rung.

The first study has the trials, with the hyperparameters that the sampler has chosen. It also has a
list of the studies of the later rungs, in the attribute `rungs`, so that a worker on any machine
finds them.
"""

from collections.abc import Sequence
from contextlib import suppress

from components.search.claims import LostTrialError
from components.search.database import PATIENCE_S, create_study
from components.search.trials import TrialStore

RUNGS = "rungs"
FIRST = "first rung"


class Rungs:
    """The studies of one search.

    url: SQLAlchemy's address of the database. name: the name of the search, and of the study of its
    first rung. patience_s: see `TrialStore`.
    """

    def __init__(self, url: str, name: str, patience_s: float = PATIENCE_S) -> None:
        self._url, self._name, self._patience_s = url, name, patience_s
        self.first = TrialStore(url, name, patience_s)
        self._open: dict[str, TrialStore] = {name: self.first}

    @classmethod
    def create(cls, url: str, name: str, directions: Sequence[str]) -> "Rungs":
        """Return the studies of a search; create the first of them if it does not exist.

        directions: `maximize` or `minimize` for each objective.
        """
        create_study(url, name, directions)
        return cls(url, name)

    def begin(self) -> None:
        """Forget the later rungs, so that only those count that are added from now on.

        A search that goes on with other params may have other rungs. Their studies stay, but no
        worker looks into those that are not added again.
        """
        self.first.note(RUNGS, [])

    def exists(self, rung: str) -> bool:
        """Return whether the study of a later rung exists, perhaps since an earlier process."""
        return self.first.knows(f"{self._name} {rung}")

    def add(self, rung: str, directions: Sequence[str]) -> TrialStore:
        """Return the study of a later rung; create it if it does not exist."""
        name = f"{self._name} {rung}"
        create_study(self._url, name, directions)
        known = self.first.noted(RUNGS) or []
        if name not in known:
            self.first.note(RUNGS, [*known, name])
        return self._store(name)

    def named(self) -> dict[str, TrialStore]:
        """Return the name of each rung → its study, in the order of the rungs."""
        later = self.first.noted(RUNGS) or []
        return {FIRST: self.first} | {
            name.removeprefix(f"{self._name} "): self._store(name) for name in later
        }

    def stores(self) -> list[TrialStore]:
        """Return the studies that exist now, in the order of the rungs."""
        return list(self.named().values())

    def release(self, worker: str | None = None) -> None:
        """Give back the trials that run; only those of one worker, if it is named."""
        for store in self.stores():
            for claim in store.running():
                if worker in (None, claim.worker):
                    with suppress(LostTrialError):
                        store.release(claim)

    def close(self) -> None:
        """Close all connections to the database."""
        for store in self._open.values():
            store.close()

    def _store(self, name: str) -> TrialStore:
        if name not in self._open:
            self._open[name] = TrialStore(self._url, name, self._patience_s)
        return self._open[name]


def short_name(rung: str) -> str:
    """Return the name of a rung without the numbers of its trials.

    >>> short_name("round 1 of 3 17")
    'round 1'
    """
    return rung.partition(" of ")[0]
