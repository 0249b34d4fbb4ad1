"""A champion, new images, a warm start from the champion, and the reviewer's commands."""

import json

from tests.end_to_end.conftest import IMAGES_PER_CLASS, edit_params, run, write_digits


def test_the_second_generation_starts_from_the_first_and_is_reviewed(continued):
    folder = continued
    run(folder, "dvc repro -f -s evaluate && dvc repro -f -s register")
    assert "1" in run(folder, "fovea promote 1 --reason 'the first one'")

    write_digits(folder, IMAGES_PER_CLASS, IMAGES_PER_CLASS + 5)
    run(folder, "dvc add -q data/raw")
    edit_params(folder, {"model": {"weights": "models:/digits@champion"}})
    printed = run(folder, "dvc repro")
    assert "phase head" in printed
    verdict = json.loads((folder / "data/register/verdict.json").read_text())
    assert verdict["version"] == 2

    review = run(folder, "fovea review")
    for word in ("champion", "challenger", "accuracy", verdict["decision"]):
        assert word in review.lower()
    run(folder, "fovea promote --reason 'more images' --override", expect=None)
    assert "2" in run(folder, "fovea promote 2 --reason 'again'", expect=None)
    run(folder, "fovea rollback --reason 'complaints from the field'")
    history = run(folder, "fovea history")
    for reason in ("the first one", "more images", "complaints from the field"):
        assert reason in history
    assert "models:/digits/1" in run(folder, "fovea explain 2")
