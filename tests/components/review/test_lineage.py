from components.review.lineage import DIFFERENCES, lineage_lines
from tests.components.review.judged import TAGS, model


def lines(own, champion=None):
    return {line.term: line for line in lineage_lines(own, champion)}


def test_the_lineage_of_a_first_model_is_in_words():
    found = lines(model(1, **{"model.dropout": "0.2"}))
    assert found["Code"].text == "commit cccccccccccc of 2026-11-20"
    assert found["Data"].text == "images and labels dddddddddddd"
    assert found["Split"].text == "train, val and test eeeeeeeeeeee; seed 1"
    assert found["Start"].text == "random weights"
    assert found["Packages"].text == "CPython 3.11.9, keras 3.15.1, numpy 2.1.0"
    assert "version" not in " ".join(line.text for line in found.values())


def test_what_differs_from_the_champion_is_listed_and_what_is_the_same_is_not():
    champion = model(1, **{"model.dropout": "0.2", "train.loss": "focal"})
    newer = TAGS | {"packages": "keras 3.16.0, numpy 2.1.0", "data_id": "f" * 64, "train.seed": "2"}
    found = lines(model(2, newer, **{"model.dropout": "0.4", "train.loss": "focal"}), champion)
    assert found["Params"].text == "one differs from version 1"
    assert found["Params"].items == ("model.dropout: 0.4 (version 1: 0.2)",)
    assert found["Packages"].items == ("keras: 3.16.0 (version 1: 3.15.1)",)
    assert found["Data"].text.endswith("other than those of version 1 (dddddddddddd)")
    assert found["Split"].text.startswith("train, val and test eeeeeeeeeeee, the same as")
    assert found["Seed of the training"].text == "2 (version 1: 1)"


def test_a_param_that_one_of_the_two_does_not_have_differs():
    found = lines(model(2, a="1", b="2"), model(1, b="2", c="3"))
    assert found["Params"].items == ("a: 1 (version 1: –)", "c: – (version 1: 3)")


def test_many_differences_are_bounded_and_long_values_are_cut():
    own = {f"p{number:03}": "x" * 999 for number in range(100)}
    items = lines(model(2, **own), model(1, p="1"))["Params"].items
    assert len(items) == DIFFERENCES + 1
    assert items[-1] == f"and {101 - DIFFERENCES} more"
    assert all(len(item) < 300 for item in items)


def test_params_that_were_not_committed_are_not_said_to_be_in_the_commit():
    params = {"model.dropout": "0.2"}
    committed = "in params.yaml of the commit, and in the MLflow run"
    for dirty in ("no", "yes: README.md", "yes: old/params.yaml"):
        found = lines(model(1, TAGS | {"git.dirty": dirty}, **params))
        assert found["Params"].text == committed
    for dirty in ("yes: params.yaml", "yes: a.py, params.yaml and 3 more"):
        found = lines(model(1, TAGS | {"git.dirty": dirty}, **params))
        assert found["Params"].text == "in the MLflow run; params.yaml was not committed"


def test_the_start_is_named():
    for start, words in {
        "imagenet": "weights from ImageNet",
        "1" * 64: "the weights of version 1",
        "7" * 64: "the weights of the model file 777777777777",
    }.items():
        assert lines(model(2, TAGS | {"started_from": start}), model(1))["Start"].text == words


def test_an_old_version_has_gaps_that_are_named():
    found = lines(model(2), model(1, {"seed": "17"}))
    assert found["Data"].text.endswith("those of version 1 are not recorded")
    assert found["Seed of the training"].text == "1 (version 1: 17)"
    assert found["Params"].text == "not recorded"
    assert {line.text for term, line in lines(model(1, {})).items() if term != "Params"} == {
        "not recorded"
    }


def test_uncommitted_changes_are_named():
    dirty = TAGS | {"git.dirty": "yes: a.py, b.py"}
    assert lines(model(1, dirty))["Code"].text.endswith("with uncommitted changes (a.py, b.py)")
