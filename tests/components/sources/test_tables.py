"""Tables of paths and labels: four formats, one meaning, and a sentence for each mistake."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from components.errors import UserError
from components.params.ingest import Columns, Source
from components.params.reader import Params
from components.sources.listing import Entry, Listing
from components.sources.source import open_source

ROWS: list[dict[str, Any]] = [
    {"path": "a/1.png", "label": "cat", "group": "g1", "split": "Training", "camera": "X 1"},
    {"path": "a/2.png", "label": "dog", "group": None, "split": "valid", "camera": None},
    {"path": "./a//3.png", "label": "a/b", "group": "g1", "split": None, "camera": 'a "b", c'},
]


@pytest.fixture
def source(params: Params) -> Source:
    return params.ingest.source


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for number in range(1, 4):
        (tmp_path / f"a/{number}.png").touch()
    return tmp_path


def write(raw: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    path = raw / f"labels{suffix}"
    if suffix in (".csv", ".tsv"):
        pd.DataFrame(rows).to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def csv(raw: Path, text: str | bytes) -> Path:
    data = text if isinstance(text, bytes) else text.encode()
    (raw / "labels.csv").write_bytes(data)
    return raw


def refused(raw: Path, source: Source) -> str:
    with pytest.raises(UserError) as caught:
        open_source(raw, source)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)
    return str(caught.value)


def labels(listing: Listing) -> dict[str, str]:
    return {entry.path: entry.label for entry in listing.entries}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_every_format_says_the_same(suffix: str, raw: Path, source: Source) -> None:
    write(raw, suffix, ROWS)
    listing = open_source(raw, source)
    assert listing.entries == [
        Entry("a/1.png", "cat", "g1", "train", {"camera": "X 1"}),
        Entry("a/2.png", "dog", None, "val", {"camera": None}),
        Entry("a/3.png", "a/b", "g1", None, {"camera": 'a "b", c'}),
    ]
    assert listing.columns == ("camera",)
    assert listing.notes == (f"table labels{suffix} (3 images, 3 classes, train, val)",)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_columns_go_by_the_names_in_params(suffix: str, raw: Path, source: Source) -> None:
    write(raw, suffix, [{"file": f"a/{n}.png", "class": "xy"[n % 2], "label": n} for n in (1, 2)])
    error = refused(raw, source)
    assert "no column path" in error
    assert "'file', 'class', 'label'" in error
    columns = Columns(path="file", label="class", group="group", split="split")
    listing = open_source(raw, source.model_copy(update={"columns": columns}))
    assert labels(listing) == {"a/1.png": "y", "a/2.png": "x"}
    assert [entry.extras for entry in listing.entries] == [{"label": "1"}, {"label": "2"}]


@pytest.mark.parametrize("what", ["group", "split"])
def test_a_column_that_is_named_but_missing_is_said(what: str, raw: Path, source: Source) -> None:
    csv(raw, "path,label,patient\na/1.png,cat,p1\na/2.png,dog,p2\n")
    columns = source.columns.model_copy(update={what: "patent"})
    error = refused(raw, source.model_copy(update={"columns": columns}))
    assert f"no column 'patent', which ingest.source.columns.{what} names" in error
    assert "path, label, patient" in error or "label, path, patient" in error


def test_values_of_any_type_are_carried_as_text(raw: Path, source: Source) -> None:
    plain = {"path": "a/1.png", "label": "cat"}
    values = {"i": 7, "f": 0.1, "b": True, "l": ["1", "é"], "d": date(2024, 2, 29), "e": ""}
    empty = {"path": "a/2.png", "label": "dog", "f": float("nan")}
    write(raw, ".parquet", [plain | values, empty])
    first, second = open_source(raw, source).entries
    assert first.extras == {
        "i": "7",  # for a column with a gap pandas writes 7.0
        "f": "0.1",
        "b": "true",
        "l": '["1", "é"]',
        "d": "2024-02-29",
        "e": None,
    }
    assert set(second.extras.values()) == {None}


def test_columns_of_json_lines_may_come_and_go(raw: Path, source: Source) -> None:
    write(raw, ".jsonl", [ROWS[0], {"path": "a/2.png", "label": "dog", "more": {"k": "é"}}])
    listing = open_source(raw, source)
    assert listing.columns == ("camera", "more")
    assert listing.entries[1].extras == {"camera": None, "more": '{"k": "é"}'}


@pytest.mark.parametrize("text", ["path,label", "\ufeffpath,label", "path;label", "path\tlabel"])
def test_spreadsheets_are_read_as_they_write(text: str, raw: Path, source: Source) -> None:
    sign = text[-6]
    csv(raw, f"{text}\r\na/1.png{sign}cat\r\n\r\na/2.png{sign}dog\r\n")
    assert labels(open_source(raw, source)) == {"a/1.png": "cat", "a/2.png": "dog"}


def test_a_column_without_a_name_is_left_out(raw: Path, source: Source) -> None:
    csv(raw, ",path,label\n0,a/1.png,cat\n1,a/2.png,dog\n")
    assert open_source(raw, source).columns == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"path,label\na/1.png,caf\xe9\n", r"not UTF-8 in line 2"),
        ("path,label\na/1.png,cat\n".encode("utf-16"), r"not UTF-8 in line 1"),
        (b"path,label\na/1.png,cat,1\n", r"in line 2.*3 values in a table of 2 columns"),
        (b'path,label\na/1.png,cat\na/2.png,"dog\n', r"malformed in line 3"),
        (b'path,label\na/1.png,"cat"x\n', r"malformed in line 2"),
        (b"path,label,x,x\na/1.png,cat,1,2\n", r"two columns with the same name"),
        (b"", r"no column path"),
        (b"path,label\n", r"has no row"),
        (b"path\na/1.png\n", r"no column label.*'path'"),
        (b"path,label\n,cat\n", r"line 2: the path of an image is missing"),
        (b"path,label\na/1.png,cat\n", r"two classes or more"),
        (b"path,label\na/1.png,\na/2.png,\n", r"two classes or more.*no class"),
        (b"path,label,split\na/1.png,cat,dev\n", r"line 2: a split is one of.*Received: dev"),
        (b"path,label\na/1.png,cat\na/1.png,dog\n", r"two rows for a/1.png .*label.*cat and dog"),
        (b"path,label\na/1.png,cat\n./a/1.png,dog\n", r"two rows for a/1.png .*label.*cat and dog"),
        (b"path,label,group\na/1.png,cat,g\na/1.png,cat,h\n", r"a different group.*g and h"),
        (b"path,label\na/1.png,0.5\na/2.png,1\n", r"numbers with decimals.*Received: 0.5"),
        (b"path,label\na\\1.png,cat\na\\2.png,dog\n", r"not a backslash.*Received: a\\"),
        (b"path,label\nb/1.png,cat\nb/2.png,dog\n", r"none of the files.*Received: b/1.png"),
        (b'path,label\na/1.png,"c\nt"\na/2.png,dog\n', r"one line of text"),
        (
            b"path,label\na/1.png,%b\na/2.png,dog\n" % (b"c" * 1_001),
            r"at most 1,000 .* 'c+' \(1,001",
        ),
    ],
)
def test_a_bad_csv_ends_in_one_sentence(
    text: bytes, sentence: str, raw: Path, source: Source
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        open_source(csv(raw, text), source)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"path": "a/2.png", "label": "dog"', r"in line 2"),
        (b'["a/2.png", "dog"]', r"in line 2.*not a JSON object"),
        (b'{"path": "a/2.png", "label": 0.5}', r"line 2: a label names a class.*Received: 0.5"),
        (b'{"path": "a/2.png", "label": true}', r"line 2: a label names a class.*Received: True"),
        (b'{"path": 3, "label": "dog"}', r"line 2: the path of an image is missing.*Received: 3"),
        (b'{"label": "dog"}', r"line 2: the path of an image is missing"),
        (b'{"path": "a/2.png", "label": "\\ud800"}', r"in line 2"),
        (b'{"path": "a/2.png", "label": "caf\xe9"}', r"not UTF-8 in line 2"),
        (b"[" * 100_000, r"in line 2"),
    ],
)
def test_bad_json_lines_end_in_one_sentence(
    line: bytes, sentence: str, raw: Path, source: Source
) -> None:
    (raw / "labels.jsonl").write_bytes(b'{"path": "a/1.png", "label": "cat"}\n' + line + b"\n")
    with pytest.raises(UserError, match=sentence):
        open_source(raw, source)


def test_a_bad_parquet_ends_in_one_sentence(raw: Path, source: Source) -> None:
    (raw / "labels.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    assert "not a valid Parquet table" in refused(raw, source)
    write(raw, ".parquet", [{"path": "a/1.png", "label": "cat", "image": b"\x89PNG"}])
    assert "column image, binary" in refused(raw, source)
    write(raw, ".parquet", [{"path": "a/1.png", "label": 0.5}])
    assert "line 1: a label names a class" in refused(raw, source)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_whole_numbers_become_text_and_are_logged(suffix: str, raw: Path, source: Source) -> None:
    write(raw, suffix, [{"path": f"a/{n}.png", "label": n} for n in (1, 2)])
    listing = open_source(raw, source)
    assert labels(listing) == {"a/1.png": "1", "a/2.png": "2"}
    note = f"labels in labels{suffix} are whole numbers; they are used as class names"
    assert note in listing.notes


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_whole_labels_stay_whole_beside_an_empty_one(
    gap: float | None, raw: Path, source: Source
) -> None:
    column = pa.array([1.0, gap, 2.0], pa.float64())
    names = pa.array([f"a/{n}.png" for n in (1, 2, 3)])
    parquet.write_table(pa.table({"path": names, "label": column}), raw / "labels.parquet")
    found = {"a/1.png": "1", "a/2.png": "", "a/3.png": "2"}
    assert labels(open_source(raw, source)) == found


def test_a_row_that_is_there_twice_counts_once_and_is_logged(raw: Path, source: Source) -> None:
    csv(raw, "path,label\na/1.png,cat\na/2.png,dog\na//1.png,cat\n")
    listing = open_source(raw, source)
    assert len(listing.entries) == 2
    note = "1 row of labels.csv is left out, because an earlier row has the same path"
    assert note in listing.notes


def test_an_empty_label_is_left_to_the_check_of_labels(raw: Path, source: Source) -> None:
    csv(raw, "path,label\na/1.png,cat\na/2.png,dog\na/3.png,\n")
    assert labels(open_source(raw, source))["a/3.png"] == ""


def test_images_that_are_not_listed_are_logged(raw: Path, source: Source) -> None:
    (raw / "a/notes.txt").touch()
    csv(raw, "path,label\na/1.png,cat\na/2.png,dog\n")
    listing = open_source(raw, source)
    assert listing.ignored == ("a/3.png", "a/notes.txt")
    note = "1 image is not listed in labels.csv and therefore left out (a/3.png)"
    assert note in listing.notes


COMPOSED, DECOMPOSED = "a/caf\u00e9.png", "a/cafe\u0301.png"


@pytest.mark.parametrize(("listed", "stored"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_path_in_another_unicode_form_is_the_file_that_looks_the_same(
    listed: str, stored: str, raw: Path, source: Source
) -> None:
    (raw / stored).touch()
    listing = open_source(csv(raw, f"path,label\na/1.png,cat\n{listed},dog\n"), source)
    assert labels(listing) == {"a/1.png": "cat", stored: "dog"}
    assert "not listed" in listing.notes[-1]
    assert stored not in listing.notes[-1]
    both = f"path,label\na/1.png,cat\n{listed},dog\n{stored},cat\n"
    assert "two rows for" in refused(csv(raw, both), source)


def test_each_file_of_two_that_look_the_same_can_be_listed(raw: Path, source: Source) -> None:
    for name in (COMPOSED, DECOMPOSED):
        (raw / name).touch()
    csv(raw, f"path,label\n{COMPOSED},cat\n{DECOMPOSED},dog\n")
    assert labels(open_source(raw, source)) == {COMPOSED: "cat", DECOMPOSED: "dog"}


def test_a_path_that_looks_like_two_files_is_refused_with_its_characters(
    raw: Path, source: Source
) -> None:
    # The two accents of the letter ấ may be in one, two or three characters.
    stored = ("a/\u1ea5.png", "a/\u00e2\u0301.png")
    for name in stored:
        (raw / name).touch()
    error = refused(csv(raw, "path,label\na/1.png,cat\na/a\u0302\u0301.png,dog\n"), source)
    assert "'a/\\xe2\\u0301.png' and 'a/\\u1ea5.png'" in error
    assert "line 3" in error
    assert error.endswith("Received: 'a/a\\u0302\\u0301.png'")


def test_a_backslash_may_belong_to_a_name(raw: Path, source: Source) -> None:
    (raw / "a\\4.png").touch()
    csv(raw, "path,label\na/1.png,cat\na\\4.png,dog\n")
    assert labels(open_source(raw, source)) == {"a/1.png": "cat", "a\\4.png": "dog"}


def test_a_table_behind_a_link_is_not_read(raw: Path, tmp_path_factory: pytest.TempPathFactory,
                                           source: Source) -> None:  # fmt: skip
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text("path,label\na/1.png,cat\na/2.png,dog\n")
    (raw / "labels.csv").symlink_to(outside)
    assert "make it a plain, readable file" in refused(raw, source)
