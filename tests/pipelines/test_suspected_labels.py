"""Real images with wrong labels → most of the first images of the ranking have a wrong label."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.sample import digits
from tests.cards import DIGITS, PHOTOS

ROOT = Path(__file__).parents[2]
# Of n changed labels, this prints the share of changed ones among the first n images, per seed.
RANK = """
import json
import sys
import numpy as np
from pathlib import Path
from components.params.reader import read_params
from pipelines import artifacts
from pipelines.formats import read_table
from pipelines.suspected_labels import frozen_classifier, suspected_labels

params = read_params(Path("params.yaml"))
accepted, links = read_table(artifacts.ACCEPTED), read_table(artifacts.DUPLICATES)
classifier = frozen_classifier(params.validate_.label_errors, params.prepare)
classes = np.unique(accepted["label"])
shares = []
for seed in range(3):
    generator = np.random.default_rng(seed)
    count = round(float(sys.argv[1]) * len(accepted))
    wrong = generator.choice(len(accepted), count, replace=False)
    labels = accepted["label"].to_numpy(copy=True)
    for row in wrong:
        labels[row] = generator.choice(classes[classes != labels[row]])
    ranking = suspected_labels(
        accepted.assign(label=labels), links, params.ingest, classifier
    ).ranking
    shares.append(float(ranking["row"].head(count).isin(wrong).mean()))
print(json.dumps(shares))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "wrong", "least"), [("trashnet", 0.05, 0.65), ("digits", 0.03, 0.6)]
)
def test_most_of_the_first_images_have_a_wrong_label(
    images: str, wrong: float, least: float, shared: Path, tmp_path: Path
) -> None:
    if images == "trashnet":
        shutil.copytree(shared / "datasets/trashnet", tmp_path / "data/raw")
    else:
        for name, content in digits():
            (tmp_path / "data/raw" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data/raw" / name).write_bytes(content)
    card = (PHOTOS if images == "trashnet" else DIGITS).read_text()
    ranks, none = (f"label_errors:\n    backbone: {name}" for name in ("mobilenet_v2", "none"))
    assert (ranks in card) != (none in card)
    # The stage itself ranks nothing, to save time.
    (tmp_path / "params.yaml").write_text(card.replace(ranks, none))
    keras_home = shutil.copytree(shared / "keras", tmp_path / "keras")
    environment = os.environ | {"KERAS_HOME": str(keras_home), "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "pipelines", "ingest")
    run("-m", "pipelines", "validate")
    (tmp_path / "params.yaml").write_text(card.replace(none, ranks))
    shares = json.loads(run("-c", RANK, str(wrong)).splitlines()[-1])
    print(images, shares)
    assert min(shares) >= least, shares
