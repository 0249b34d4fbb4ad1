"""Names that arrive → their places in data/raw; a wrapper goes only where a layout comes of it."""

from pathlib import Path, PurePosixPath

import pytest

from components.errors import UserError
from pipelines.commands.arrivals import alike_names, check_names, folder_below, summary, targets


def placed(*names: str, into: str = "", raw: Path = Path("nowhere")) -> list[str]:
    places = targets(names, PurePosixPath(into), raw)
    assert list(places) == list(names)
    return list(places.values())


CLASSES = ("photos/cat/1.png", "photos/dog/1.png")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (CLASSES, ["cat/1.png", "dog/1.png"]),
        (("a/b/cat/1.png", "a/b/dog/1.png"), ["cat/1.png", "dog/1.png"]),
        (("photos/README", *CLASSES), ["README", "cat/1.png", "dog/1.png"]),
        (("README", *CLASSES), ["README", "cat/1.png", "dog/1.png"]),
        (("photos/train/cat/1.png",), ["train/cat/1.png"]),
        (("p/train/cat/1.png", "p/test/cat/2.png"), ["train/cat/1.png", "test/cat/2.png"]),
        (("p/labels.csv", "p/images/1.png"), ["labels.csv", "images/1.png"]),
        (("p/x.npz",), ["x.npz"]),
    ],
)
def test_a_wrapper_is_left_out_where_a_layout_comes_to_light(
    names: tuple[str, ...], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert placed(*names) == expected
    assert "every file is in" in capsys.readouterr().out


@pytest.mark.parametrize(
    "names",
    [
        ("cat/1.png", "dog/1.png"),
        ("cat/1.png",),
        ("cat/monday/1.png",),
        ("train/cat/1.png", "train/dog/1.png"),
        ("1.png",),
        ("labels.csv", "images/1.png"),
        ("photos/1.png", "photos/dog/1.png"),
        ("notes/README",),
    ],
)
def test_folders_that_are_a_layout_or_a_class_stay(
    names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert placed(*names) == list(names)
    assert capsys.readouterr().out == ""


def test_a_class_that_is_there_already_is_no_wrapper(tmp_path: Path) -> None:
    names = ("cat/monday/1.png", "cat/tuesday/1.png")
    assert placed(*names) == ["monday/1.png", "tuesday/1.png"]
    (tmp_path / "cat").mkdir()
    assert placed(*names, raw=tmp_path) == list(names)


def test_a_class_named_with_into_is_not_doubled(tmp_path: Path) -> None:
    assert placed("cat/1.png", into="cat") == ["cat/1.png"]
    assert placed("cat/m/1.png", "cat/t/1.png", into="cat") == ["cat/m/1.png", "cat/t/1.png"]
    assert placed("1.png", into="cat/monday") == ["cat/monday/1.png"]


@pytest.mark.parametrize("into", ["..", "a/../..", "/a", ".git", "a/.b"])
def test_a_subfolder_that_leads_out_or_is_hidden_is_refused(into: str) -> None:
    with pytest.raises(UserError, match="--into"):
        folder_below(into)


def test_a_subfolder_may_be_deep() -> None:
    assert folder_below("train/cat") == PurePosixPath("train/cat")
    assert folder_below("") == PurePosixPath()


@pytest.mark.parametrize(
    ("arriving", "existing"),
    [
        (["a", "a/b"], []),
        (["a/b"], ["a"]),
        (["a"], ["a/b/c"]),
        (["a/\udcff"], []),
    ],
)
def test_names_that_cannot_stand_side_by_side_are_refused(
    arriving: list[str], existing: list[str]
) -> None:
    with pytest.raises(UserError, match="rename"):
        check_names(arriving, existing)


def test_names_that_can_are_not() -> None:
    check_names(["a/b", "a/c", "ü\n"], ["a/d", "b"])


def test_twins_are_found_by_case_and_by_the_form_of_their_letters() -> None:
    (line,) = alike_names(["cat/A.png", "u\u0308.png"], ["cat/a.png", "\u00fc.png"])
    assert line.startswith("2 names")
    assert list(alike_names(["cat/1.png"], ["cat/2.png"])) == []


def test_the_summary_counts_per_class_also_below_splits() -> None:
    new = ["train/cat/1.png", "test/cat/2.png", "dog/1.jpg", "3.png", "labels.csv"]
    line = summary(new, 1, 2, ["a/.b"])
    assert line == (
        "5 files added to data/raw (in no folder: 1, cat: 2, dog: 1); 1 of them "
        "replaced old files; 2 were there already; 1 hidden file left out: a/.b"
    )


def test_many_classes_are_cut_short() -> None:
    assert "and 20 more classes" in summary([f"{n}/1.png" for n in range(30)], 0, 0, [])
