"""Suspected label errors: planted ones lead the list, copies do not vouch for each other."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from components.label_errors import suspects as module
from components.label_errors.suspects import LISTED, SCORES, suspects

CLASSES = np.array(["cat", "cow", "dog"])


def clouds(count: int, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Features float32 [count, 40] in three clouds that overlap a little, and the cloud of each."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = generator.normal(size=(3, 40)) * 0.7
    return (centres[labels] + generator.normal(size=(count, 40))).astype(np.float32), labels


def with_errors(labels: NDArray[np.intp], share: float) -> tuple[list[str], set[int]]:
    """Return the names of labels, of which a share is wrong, and the rows that are."""
    wrong = np.random.default_rng(2).choice(len(labels), int(share * len(labels)), replace=False)
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + 1) % 3
    return CLASSES[changed].tolist(), set(wrong.tolist())


def test_wrong_labels_lead_the_list_with_the_right_one_suggested() -> None:
    features, truth = clouds(600)
    labels, wrong = with_errors(truth, 0.05)
    found = suspects(features, labels, range(600)).table
    first = found.head(len(wrong))
    assert first["row"].isin(wrong).mean() > 0.9
    caught = first[first["row"].isin(wrong)]
    assert (CLASSES[truth[caught["row"]]] == caught["suggested"]).mean() > 0.9
    assert found["quality"].is_monotonic_increasing
    assert found["label"].tolist() == [labels[row] for row in found["row"]]
    assert (found["label"] != found["suggested"]).all()


def test_a_copy_does_not_vouch_for_a_wrong_label() -> None:
    """Copies share their wrong label; learned from one, the others' would look right."""
    features, truth = clouds(90)
    labels, wrong = with_errors(truth, 0.1)
    copied, names = np.tile(features, (8, 1)), labels * 8
    together = suspects(copied, names, list(range(90)) * 8).table
    apart = suspects(copied, names, range(720)).table
    caught = [set(table["row"] % 90) & wrong for table in (together, apart)]
    assert len(caught[0]) > len(wrong) / 2 > len(caught[1])


def test_the_list_is_the_same_in_another_process_with_other_threads() -> None:
    program = (
        "from tests.components.label_errors.test_suspects import *\n"
        "features, truth = clouds(300)\n"
        "labels, _ = with_errors(truth, 0.05)\n"
        "print(suspects(features, labels, range(300)).table.to_csv())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        for threads in ("1", "2")
    ]
    assert printed[0].stdout == printed[1].stdout
    assert "suggested" in printed[0].stdout
    assert printed[0].stderr == ""


def test_it_reaches_no_network_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def connected(*_: object) -> None:
        raise AssertionError("it tried to connect")

    monkeypatch.setattr("socket.socket.connect", connected)
    features, truth = clouds(120)
    labels, _ = with_errors(truth, 0.05)
    suspects(features, labels, range(120))
    assert capfd.readouterr() == ("", "")


def test_a_label_of_too_few_images_is_skipped_and_named() -> None:
    features, truth = clouds(120)
    labels, _ = with_errors(truth, 0.1)
    labels[:8] = ["emu"] * 8
    # Eight images, of which four are the same, make five; of which five are the same, four.
    assert suspects(features, labels, [0] * 4 + list(range(1, 117))).skipped == ()
    found = suspects(features, labels, [0] * 5 + list(range(1, 116)))
    assert (found.skipped, found.images) == (("emu",), 112)
    assert found.table["row"].min() >= 8


@pytest.mark.parametrize("count", [0, 30])
def test_fewer_than_two_labels_leave_nothing_to_suspect(count: int) -> None:
    found = suspects(np.zeros((count, 4), np.float32), ["cat"] * count, range(count))
    assert (found.images, len(found.table)) == (count, 0)
    assert found.tree([])["suspects"] == []


def test_the_tree_names_the_worst_and_counts_all() -> None:
    features, truth = clouds(3000)
    labels, _ = with_errors(truth, 0.1)
    found = suspects(features, labels, range(3000))
    tree = found.tree([f"{row}.png" for row in range(3000)])
    assert tree["suspect_count"] == len(found.table) > LISTED == len(tree["suspects"])
    worst = found.table.iloc[0]
    assert pd.Series(tree["suspects"][0]).to_dict() == {
        "path": f"{worst['row']}.png",
        "label": worst["label"],
        "suggested": worst["suggested"],
        "quality": worst["quality"],
    }


def test_every_image_has_a_rank_and_suspects_are_marked() -> None:
    features, truth = clouds(120)
    labels, _ = with_errors(truth, 0.1)
    labels[:3] = ["emu"] * 3  # too few to be examined
    paths = [f"{row}.png" for row in range(120)]
    found = suspects(features, labels, range(120))
    scores = found.scores(paths, labels)
    assert scores.dtypes.astype(str).to_dict() == SCORES
    assert sorted(scores["path"]) == sorted(paths)
    assert dict(zip(scores["path"], scores["label"], strict=True)) == dict(
        zip(paths, labels, strict=True)
    )
    ranked, rest = scores[:117], scores[117:]
    assert ranked["rank"].tolist() == list(range(1, 118))
    assert ranked["quality"].is_monotonic_increasing
    assert ranked["suspected"].sum() == len(found.table)
    assert sorted(rest["path"]) == ["0.png", "1.png", "2.png"]
    assert rest[["suggested", "quality", "rank"]].isna().all(axis=None)
    assert not rest["suspected"].any()
    tree = found.tree(paths)
    assert [image["path"] for image in tree["ranking"]] == scores["path"][:LISTED].tolist()
    assert tree["ranking"][0]["suspected"] is True


def test_a_ranking_says_how_sure_it_is() -> None:
    """Wrong labels stand in the first tenth as often as the ranking says beforehand."""
    features, truth = clouds(600)
    labels, wrong = with_errors(truth, 0.05)
    found = suspects(features, labels, range(600))
    first = set(found.ranking["row"][:60])
    assert found.found == pytest.approx(len(first & wrong) / len(wrong), abs=0.1)
    assert found.agreement == pytest.approx(0.95, abs=0.06)
    noise = np.random.default_rng(5).normal(size=features.shape).astype(np.float32)
    blind = suspects(noise, labels, range(600))
    assert blind.found < 0.25
    assert blind.agreement < 0.45


def test_a_second_fit_without_the_suspects_trusts_wrong_labels_less() -> None:
    features, truth = clouds(300)
    labels, wrong = with_errors(truth, 0.2)
    once, twice = (suspects(features, labels, range(300), fit_again=again) for again in (0, 1))
    of_wrong = [
        found.ranking.loc[found.ranking["row"].isin(wrong), "quality"].mean()
        for found in (once, twice)
    ]
    assert of_wrong[1] < 0.8 * of_wrong[0]
    assert set(twice.ranking["row"]) == set(range(300))


def test_a_second_fit_that_would_know_only_one_label_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, _ = clouds(30)
    labels = ["one"] * 25 + ["two"] * 5
    all_but_one = np.arange(30) > 25
    monkeypatch.setattr(module, "_suspected", lambda *_: all_but_one)
    once, twice = (suspects(features, labels, range(30), fit_again=again) for again in (0, 1))
    pd.testing.assert_frame_equal(once.ranking, twice.ranking)
