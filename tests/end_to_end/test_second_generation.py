"""A champion, new images, a warm start from the champion, and the reviewer's commands."""

import json
import re

import pytest

from components.model.model_file import model_id
from components.params.reader import read_params
from components.registry.versions import versions
from tests.end_to_end.conftest import IMAGES_PER_CLASS, edit_params, mlflow_of, run, write_digits


def registry(folder):
    """Ask MLflow for alias → version, and version → [model_id, what it started from]."""
    with mlflow_of(folder):
        found = versions("digits")
    aliases = {alias: each.number for each in found for alias in each.aliases}
    return aliases, {each.number: [each.model_id, each.tags["started_from"]] for each in found}


def rows(printed):
    """Return the cells of every row of the tables in what a command printed."""
    split = (re.split(r"[│┃]", line) for line in printed.splitlines())
    return [[cell.strip() for cell in cells[1:-1]] for cells in split if len(cells) > 2]


@pytest.mark.slow
def test_the_second_generation_starts_from_the_first_and_is_reviewed(continued, tmp_path):
    folder = continued
    run(folder, "dvc repro -f -s evaluate && dvc repro -f -s register")
    first = model_id(folder / "data/train/model.keras")
    printed = run(folder, "fovea promote 1 --reason 'the first one'")
    assert "promoted version 1 of digits; version 1 is now the champion" in printed
    assert registry(folder)[0] == {"champion": 1}

    write_digits(folder, IMAGES_PER_CLASS, IMAGES_PER_CLASS + 5)
    run(folder, "dvc add -q data/raw && git commit -qm 'more images' data/raw.dvc")
    home = str(tmp_path / "prefect")
    assert "phase head" in run(folder, "fovea retrain --from champion", PREFECT_HOME=home)
    weights = f"models:/digits/1#sha256={first}"
    assert read_params(folder / "params.yaml").model.weights == weights
    assert run(folder, "git log -2 --format=%s").splitlines() == [
        "What the stages wrote when they ran again",
        "Training starts from version 1 of digits, the champion",
    ]
    assert run(folder, "git status --porcelain") == ""
    assert run(folder, "dvc status") == "Data and pipelines are up to date.\n"
    verdict = json.loads((folder / "data/register/verdict.json").read_text())
    assert (verdict["version"], verdict["champion"]) == (2, 1)
    second = model_id(folder / "data/train/model.keras")
    assert second != first
    aliases, made = registry(folder)
    assert aliases == {"champion": 1, "challenger": 2}
    assert made[2] == [second, first]

    review = run(folder, "fovea review")
    header, *metrics = rows(review)
    assert header == ["metric", "challenger: version 2", "champion: version 1", "difference"]
    shown = {name: cells for name, *cells in metrics}
    challenger, champion, difference = (
        float(cell.split()[0].replace("−", "-")) for cell in shown["accuracy"]
    )
    assert abs(challenger - champion - difference) < 0.0016  # each is rounded to three digits
    assert re.search(rf"^verdict: {verdict['decision']}$", review, re.MULTILINE)

    overridden = verdict["decision"] != "promote"
    if overridden:
        refused = run(folder, "fovea promote 2 --reason 'more images'", expect=1)
        assert "--override" in refused
        assert registry(folder)[0]["champion"] == 1
    run(folder, f"fovea promote 2 --reason 'more images'{' --override' * overridden}")
    assert registry(folder)[0] == {"champion": 2}
    again = run(folder, "fovea promote 2 --reason again --override", expect=1)
    assert "error: this version is the champion already. Received: 2" in again
    printed = run(folder, "fovea rollback --reason 'complaints from the field'")
    assert "rolled back version 2 of digits; version 1 is now the champion" in printed
    assert registry(folder)[0] == {"champion": 1}

    history = [(what, moved, why) for _, _, what, moved, why in rows(run(folder, "fovea history"))]
    assert history == [
        ("what", "champion", "why"),
        ("promote 1", "– → 1", "the first one"),
        (f"promote 2{' (override)' * overridden}", "1 → 2", "more images"),
        ("rollback 2", "2 → 1", "complaints from the field"),
    ]
    explained = run(folder, "fovea explain 2")
    assert f"models:/digits/1 ({first})" in explained
    assert re.search(r"uncommitted changes\W+no\b", explained)


@pytest.mark.slow
def test_a_model_is_trained_from_the_champion_once_and_not_from_itself(continued, tmp_path):
    folder = continued
    edit_params(folder, {"register": {"promote": "auto"}})
    run(folder, "git commit -qam 'promote by itself' && dvc repro -q")
    assert registry(folder)[0] == {"champion": 1}
    run(folder, "git add dvc.lock && git commit -qm 'the first model'")
    home = str(tmp_path / "prefect")

    assert "phase head" in run(folder, "fovea retrain --from champion", PREFECT_HOME=home)
    first, second = (registry(folder)[1][number] for number in (1, 2))
    assert second == [model_id(folder / "data/train/model.keras"), first[0]]

    for why in (
        "params.yaml already names the champion of digits, version 1",
        "the champion of digits, version 2, is the model of this folder, and nothing that",
    ):
        champion = registry(folder)[0]["champion"]
        if f"version {champion}" not in why:
            if champion == 2:  # the stage has promoted it
                continue
            run(folder, "fovea promote 2 --override --reason 'as the stage does it'")
        before = (folder / "params.yaml").read_text()
        printed = run(folder, "fovea retrain --from champion", PREFECT_HOME=home)
        assert sum(why in line for line in printed.splitlines()) == 1
        assert "no stage ran, because nothing has changed" in printed.lower()
        assert (folder / "params.yaml").read_text() == before
    assert registry(folder)[0] == {"champion": 2}
    assert sorted(registry(folder)[1]) == [1, 2]
    assert run(folder, "git status --porcelain") == ""
