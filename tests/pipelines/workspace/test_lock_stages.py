import yaml

from pipelines.workspace.lock_stages import Out, compare, size_of, stages_to

STAGES = {
    "train": {
        "cmd": "python -m pipelines train",
        "deps": [
            {"path": "components/model", "md5": "c0de.dir", "size": 7},
            {"path": "data/prepare/train.npy", "md5": "aa"},
            {"path": "data/search/best.yaml", "md5": "bb"},
        ],
        "params": {"params.yaml": {"seed": 1}},
        "outs": [{"path": "data/train/model.keras", "md5": "ff", "size": 100}],
    },
    "prepare": {
        "deps": [{"path": "data/raw", "md5": "11.dir", "size": 1000}],
        "outs": [{"path": "data/prepare/train.npy", "md5": "aa", "size": 50}],
    },
    "search": {
        "deps": [
            {"path": "data/raw", "md5": "11.dir", "size": 1000},
            {"path": "data/tries", "md5": "22.dir"},
        ],
        "outs": [{"path": "data/search/best.yaml", "md5": "bb"}],
    },
    "try": {"outs": [{"path": "data/tries/1.csv", "md5": "33"}]},
    "evaluate": {
        "deps": [{"path": "data/train/model.keras", "md5": "ff"}],
        "outs": [{"path": "data/evaluate/metrics.json", "md5": "ee"}],
    },
}
LOCK = yaml.safe_dump({"schema": "2.0", "stages": STAGES})


def changed(stage: str, **changes: object) -> str:
    """Return LOCK with another entry of a stage."""
    return yaml.safe_dump({"stages": {**STAGES, stage: {**STAGES[stage], **changes}}})


def test_a_stage_comes_after_all_that_it_reads_and_later_stages_are_left_out():
    order = stages_to(LOCK, "ff", left_out=())
    assert set(order) == {"prepare", "try", "search", "train"}
    assert order.index("try") < order.index("search") < order.index("train") == 3


def test_a_stage_that_does_not_run_needs_no_earlier_stages():
    assert stages_to(LOCK, "ff", left_out=("search",)) == ("prepare", "train")


def test_equal_results_are_the_same_whatever_was_read():
    other_code = [{**STAGES["train"]["deps"][0], "md5": "beef.dir"}, *STAGES["train"]["deps"][1:]]
    compared = compare("train", LOCK, changed("train", deps=other_code))
    assert compared.same
    assert compared.inputs == ("components/model",)


def test_a_result_that_differs_or_is_missing_is_named_with_both_hashes():
    other = compare("train", LOCK, changed("train", outs=[{"path": "log.csv", "md5": "99"}]))
    assert not other.same
    assert other.outs == (Out("data/train/model.keras", "ff", None), Out("log.csv", None, "99"))


def test_results_of_earlier_stages_are_no_other_inputs():
    deps = [{**dep, "md5": "00"} if "prepare" in dep["path"] else dep
            for dep in STAGES["train"]["deps"]]  # fmt: skip
    assert compare("train", LOCK, changed("train", deps=deps)).inputs == ()


def test_other_params_and_another_command_are_other_inputs():
    now = changed("train", params={"params.yaml": {"seed": 2}}, cmd="python -m pipelines train -v")
    assert compare("train", LOCK, now).inputs == ("params.yaml", "command")


def test_a_folder_that_two_stages_read_counts_once():
    assert size_of(LOCK, ["prepare", "search", "train"]) == 1000 + 50 + 7 + 100
