"""What the stages of a rebuild know of the workspace."""

from pipelines.workspace.rebuild import Rebuild


def test_a_rebuilt_search_takes_no_trial_of_the_study_that_it_repeats(tmp_path, monkeypatch):
    for name in ("SEARCH_EXECUTOR", "STUDY_STORAGE", "SHARED_STORE", "SEARCH_WORKERS"):
        monkeypatch.setenv(f"FOVEA_{name}", "set")
    rebuild = Rebuild(tmp_path, tmp_path, {"here": True, "backend": "tensorflow"})
    kept = {name for name in rebuild.environment if name.startswith("FOVEA_S")}
    assert kept == {"FOVEA_SEARCH_WORKERS"}
