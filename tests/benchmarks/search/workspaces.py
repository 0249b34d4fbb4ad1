"""A case and params → a folder in which the stage `search` can run, with an empty `.fovea`."""

import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from components.model.backend import load_keras, seeded
from components.model.classifier import build_classifier
from components.model.model_file import write_classifier
from components.params.reader import Params
from pipelines import artifacts, balance
from pipelines.formats import read_tree, write_tree
from tests.benchmarks.recipes.sets import prepared
from tests.benchmarks.search.cases import QUICK_WEIGHTS, Case

READ = ("validate", "split", "prepare")  # the stages whose files a search reads


@contextmanager
def workspace(case: Case, params: Params) -> Iterator[Path]:
    """Make such a folder, be in it, and remove it at the end.

    The pixels are made once for all folders.
    """
    source = prepared(case.work, case.data, case.seed, params.prepare)
    with tempfile.TemporaryDirectory(dir=case.work, prefix="workspace-") as name, chdir(name):
        Path("data").mkdir()
        for stage in READ:
            Path("data", stage).symlink_to(source / "data" / stage)
        tree = params.model_dump(mode="json", by_alias=True, exclude_unset=True)
        write_tree(Path("params.yaml"), tree)
        balance.run(params.balance)
        if case.quick:
            _write_weights(params)
        yield Path(name)


def _write_weights(params: Params) -> None:
    """Write a network with random weights, always the same ones, which stands for a trained one."""
    load_keras(params.train.threads)
    facts = read_tree(artifacts.STATISTICS)
    model = params.model.model_copy(update={"weights": "none"})
    with seeded(1):
        classifier = build_classifier(model, facts["class_names"], facts["size"], facts["resize"])
    Path(QUICK_WEIGHTS).parent.mkdir()
    write_classifier(Path(QUICK_WEIGHTS), classifier)
