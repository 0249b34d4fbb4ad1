"""Paths, a model → a row for each image: its class, its probability, or why it is refused.

Everything that a prediction needs is in the model file. So the command also works without a
workspace, if it is given a model.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from components.errors import UserError
from components.progress import track
from components.serving.answers import ERRORS, FORMATS, TEXTS, Row, Write, row, rows_to_file
from components.serving.inputs import FileId, Input, file_id, read_inputs
from components.serving.model import Model, Prediction, Reader, load
from components.words import count_text
from pipelines.commands.console import show_waiting
from pipelines.commands.model_option import model_address
from pipelines.commands.output_option import check_place
from pipelines.workspace.messages import visible

DONE, NOTHING, SOME_FAULTS = 0, 1, 3  # exit statuses


@dataclass(frozen=True)
class Options:
    """The options of `fovea predict`.

    model: a file, a version in MLflow, or an alias such as `@champion`; None for the model of the
    workspace. kind: csv, jsonl or parquet; None for that of the name of `output`, or csv. output:
    the file; None for standard output. top: the number of classes in a row.
    """

    model: str | None
    kind: str | None
    output: Path | None
    top: int


def predict_paths(paths: Sequence[str], options: Options) -> int:
    """Write a row for each image. Return 0 if all have a label, 3 if some have, 1 if none has.

    The rows go to a file or to standard output, and everything else to standard error.
    paths: images, folders, archives, tables, or `-` for standard input.
    Raises UserError if an option is wrong, if there is no such model, or if there is no image.
    """
    kind, address = _kind(options), model_address(options.model)
    if options.output:
        _check_output(options.output, address, paths)
    show_waiting("waiting for TensorFlow; it takes some seconds to start")
    output = sys.stdout
    with redirect_stdout(sys.stderr):
        model = load(address, "--model")
        _check_top(options.top, model)
        inputs = read_inputs(paths, model.rules.max_bytes, _file_with_rows(options, output))
        results = _predictions(model, inputs.images, options.top)
        faults: Counter[str | None] = Counter()
        with redirect_stdout(output), _writer(kind, options) as write, redirect_stdout(sys.stderr):
            # On a terminal, a bar would be in the middle of the rows.
            on_terminal = options.output is None and output.isatty()
            shown = results if on_terminal else track(results, "predict", inputs.total)
            for name, prediction in shown:
                faults[prediction.fault] += 1
                found = row(name, prediction)
                write(_visible(found) if on_terminal else found)
            if not faults:
                raise UserError(
                    "PATH: there is no image in it; give images, or a folder with images. "
                    f"Received: {' '.join(paths)}"
                )
    return _end(faults)


def _kind(options: Options) -> str:
    """Return the format of the output: csv, jsonl or parquet."""
    named = options.output.suffix.removeprefix(".").lower() if options.output else "csv"
    kind = options.kind or named
    if kind not in FORMATS:
        raise UserError(
            "--output: its name must end with .csv, .jsonl or .parquet, or --to must say the "
            f"format. Received: {options.output}"
        )
    if options.output is None and kind == "parquet":
        raise UserError(
            "--to parquet needs --output FILE, because a Parquet file is no text. Received: no file"
        )
    return kind


def _check_output(output: Path, address: str, paths: Sequence[str]) -> None:
    """Raise UserError if rows cannot be written to a file, or would replace what is read."""
    check_place(output, "--output")
    if output.is_dir():
        raise UserError(f"--output must be a file. Received: {output}, a folder")
    if any(_are_same(output, path) for path in (address, *paths)):
        raise UserError(
            "--output must be another file than PATH and --model, because it is replaced. "
            f"Received: {output}"
        )


def _file_with_rows(options: Options, stream: TextIO) -> FileId | None:
    """Return the file that gets the rows; None if it does not exist yet, or is no file."""
    if options.output:
        return file_id(options.output)
    try:
        return file_id(stream.fileno())  # `> FILE` has made it already
    except (OSError, ValueError):  # a stream of Python only
        return None


def _are_same(output: Path, path: str) -> bool:
    try:
        return output.samefile(path)
    except (OSError, ValueError):  # one of them does not exist, or is no path at all
        return False


def _check_top(top: int, model: Model) -> None:
    classes = len(model.class_names)
    if top > classes:
        raise UserError(
            f"--top must be at most {classes}, because the model has {classes} classes. "
            f"Received: {top}"
        )


def _predictions(
    model: Model, images: Iterator[Input], top: int
) -> Iterator[tuple[str, Prediction]]:
    """Yield the name and the prediction of each image. Few images are in memory at once."""
    names: list[str] = []  # of the images that are read, but not predicted yet

    def contents() -> Iterator[Reader]:
        for image in images:
            names.append(image.name)
            yield image.read

    for prediction in model.stream(contents(), top):
        yield names.pop(0), prediction


def _visible(found: Row) -> Row:
    """Return a row without control characters; a terminal would obey those in a name."""
    return {
        name: visible(value) if isinstance(value, str) else value for name, value in found.items()
    }


@contextmanager
def _writer(kind: str, options: Options) -> Iterator[Write]:
    if options.output:
        with rows_to_file(options.output, kind, options.top) as write:
            yield write
        return
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors=ERRORS)
    with TEXTS[kind](sys.stdout, options.top) as write:
        yield write


def _end(faults: Counter[str | None]) -> int:
    """Say how many images have which fault, and return the exit status."""
    predicted, count = faults.pop(None, 0), sum(faults.values())
    if not count:
        return DONE
    codes = ", ".join(f"{code} {number:,}" for code, number in faults.most_common())
    images = count_text(count, "image was", "images were")
    print(f"{images} refused ({codes}); {predicted:,} predicted", file=sys.stderr)  # noqa: T201
    return SOME_FAULTS if predicted else NOTHING
