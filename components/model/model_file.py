"""A classifier ⇄ a `.keras` file. Equal classifiers give files with equal bytes.

A `.keras` file is a zip archive. The archive of Keras has two problems. First, it contains the date
and memory addresses (shared_object_id), so two files of the same model differ. Second, the
archive does not contain the class names. So `write_classifier` copies the archive of Keras into a
new archive. The new archive contains a fixed date, and the numbers 1, 2, 3 … instead of memory
addresses. The file metadata.json in the new archive contains these fields of `Classifier`:
class_names, size, resize, started_from, decode and, if it is not `high_byte`, sixteen_bit.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import UserError, one_line
from components.files import sha256, write_whole
from components.model.archive_checks import Facts, check_archive, read_facts
from components.model.backend import load_keras
from components.model.classifier import Classifier

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip archive can contain


def write_classifier(path: Path, classifier: Classifier) -> None:
    """Write a classifier to the file `path`. Equal classifiers give equal bytes."""
    with write_whole(path) as temporary:
        saved = temporary.with_name(f"{temporary.name}.keras")
        classifier.model.save(saved)
        _rewrite(saved, temporary, _facts(classifier))


def read_classifier(path: Path) -> Classifier:
    """Read a classifier from a file that `write_classifier` wrote.

    The complete file is checked first, see archive_checks.py. Then Keras reads it in its safe mode.
    So no code in the file is run, and the file cannot fill the memory or lead to other files.
    Raises UserError if the file is missing or damaged, or if another program wrote it.
    """
    with _report_damage(path):
        path.stat()  # A missing file is reported before Keras starts, which takes seconds.
    load_keras()
    import keras

    with _report_damage(path):
        facts = check_archive(path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        _check_network(model, facts)
        images = (facts.size, facts.resize, facts.started_from)
        return Classifier(model, facts.class_names, *images, facts.sixteen_bit, facts.decode)


def read_started_from(path: Path) -> str:
    """Return the field `started_from` of the classifier in a file, without building the network.

    Raises UserError if the file is missing, if it is not a zip archive, or if its metadata.json was
    not written by `write_classifier`. Damage to the weights is not noticed, because the weights are
    not read.
    """
    with _report_damage(path):
        return read_facts(path).started_from


def model_id(path: Path) -> str:
    """Return the sha256 of a model file, 64 hex digits. MLflow's tag `model_id` has this value."""
    return sha256(path)


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            "the model file does not exist; restore it with `dvc pull`, or create it with `dvc "
            f"repro train`. Received: {path}"
        ) from None
    except Exception as error:  # Keras and HDF5 raise many kinds of exceptions for bad bytes.
        reason = one_line(error) or type(error).__name__
        raise UserError(
            f"{path} is damaged, or is not a model file that Fovea wrote; restore the file, or use "
            f"another file. Received: {reason}"
        ) from error


def _check_network(model: Any, facts: Facts) -> None:
    """Raise ValueError if the network does not take the images or give the classes of `facts`."""
    images, outputs = (None, facts.size, facts.size, 3), (None, len(facts.class_names))
    if (model.input_shape, model.output_shape) != (images, outputs):
        raise ValueError(
            f"{len(facts.class_names)} class names and images of {facts.size} pixels for a network "
            f"from {model.input_shape} to {model.output_shape}"
        )


def _facts(classifier: Classifier) -> dict[str, Any]:
    facts = {
        "class_names": list(classifier.class_names),
        "size": classifier.size,
        "resize": classifier.resize,
        "started_from": classifier.started_from,
    }
    if classifier.sixteen_bit != "high_byte":
        facts["sixteen_bit"] = classifier.sixteen_bit
    if classifier.decode is not None:
        facts["decode"] = classifier.decode
    return facts


def _rewrite(saved: Path, destination: Path, facts: dict[str, Any]) -> None:
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(destination, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                version = json.loads(content)["keras_version"]
                content = json.dumps({"keras_version": version, "fovea": facts}).encode()
            elif name == "config.json":
                content = number_objects(content.decode()).encode()
            new.writestr(zipfile.ZipInfo(name, EPOCH), content)


def number_objects(config: str) -> str:
    """Replace the memory addresses in a Keras configuration by the numbers 1, 2, 3 …

    config: the configuration as JSON text. The first address in the text becomes 1, and the next
    different address becomes 2. Equal addresses become equal numbers.

    >>> number_objects('[{"shared_object_id": 140031}, {"shared_object_id": 139802}]')
    '[{"shared_object_id": 1}, {"shared_object_id": 2}]'
    """
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f'"shared_object_id": {numbers.setdefault(match[1], len(numbers) + 1)}'

    return re.sub(r'"shared_object_id": (\d+)', number, config)
