"""A `.keras` file → its facts, or a ValueError if `write_classifier` cannot have written the file.

A `.keras` file can come from a stranger. Keras unpacks it, builds the network that its config.json
describes, and reads weights through HDF5. A hostile file can therefore fill the memory, read other
files of this machine, or run code. So before Keras opens the file, this module checks it. Memory is
only used for bytes that the file really has, and nothing in the file is followed to another file:

- The zip has exactly three members, and none is compressed. So a small file cannot become large.
  Before and between the members there are no other bytes.
- metadata.json has valid facts, and config.json uses only the classes of Fovea's networks. Keras
  has other classes that run code or read files.
- model.weights.h5 has plain arrays only. HDF5 also knows links to other files, arrays whose numbers
  are in other files, and arrays that are announced larger than the file.
- The network needs no more weights than model.weights.h5 has.
"""

import io
import json
import math
import os
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.deadline import call_within
from components.params.ingest import Decode
from components.params.section import LONGEST_LABEL, Name, Side, is_label

MEMBERS = [CONFIG, METADATA, WEIGHTS] = ["config.json", "metadata.json", "model.weights.h5"]
# The largest metadata.json or config.json, in bytes. From a byte of JSON, Python can make 25 bytes
# of objects, so a hostile file needs at most 50 MB of memory. The largest config.json of a backbone
# (inception_resnet_v2) has 0.7 MB. 2 MB of metadata.json hold 50,000 class names of 40 letters.
LARGEST_JSON = 2_000_000
# The last bytes of a zip say where its directory is: the list of members. APPNOTE.TXT, 4.3.16.
END = struct.Struct("<4s4H2LH")
LARGEST_DIRECTORY = 1_000  # bytes; three members need about 200
# The bytes of a zip that are not the content of a member: the directory, END, and a header before
# each member.
LARGEST_OVERHEAD = 1_000  # bytes; three members need about 350
# zip has another end record for archives above 4 GB. If it is there, it is before END, starts with
# this mark, and zipfile believes it instead of END. APPNOTE.TXT, 4.3.15.
ZIP64, ZIP64_BYTES = b"PK\x06\x07", 20
# Every class in the config.json of a network that Fovea builds. No other class is loaded.
CLASSES = frozenset(
    {
        *("Functional", "Sequential", "InputLayer", "DTypePolicy", "GetItem"),
        *("__keras_tensor__", "__slice__", "__ellipsis__"),
        *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense", "ZeroPadding2D"),
        *("BatchNormalization", "LayerNormalization", "Normalization", "Rescaling"),
        *("Activation", "ReLU", "Softmax", "Dropout", "LayerScale", "CustomScaleLayer"),
        *("Add", "Multiply", "Concatenate", "Reshape"),
        *("AveragePooling2D", "MaxPooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
        *("GlorotUniform", "HeNormal", "VarianceScaling", "Zeros", "Ones", "Constant", "L1L2"),
        *("Cropping2D", "Resizing", "Mean"),  # views
        *("OnesLike", "Maximum", "Power", "Divide", "TrueDivide"),  # the pooling `gem`
    }
)
# A network is built within seconds. A hostile one could need hours.
BUILD_LIMIT_S = 300.0
# The values of 16 bits that become 0 and 255, as the param ingest.decode.sixteen_bit has them.
Word = Annotated[int, Field(ge=0, le=65_535)]
Window = dict[Annotated[str, Field(pattern="^(low|high)$")], Word]
Windowed = dict[Annotated[str, Field(pattern="^window$")], Window]


class Facts(BaseModel):
    """What metadata.json says about a classifier; see `Classifier` for the meaning of the fields.

    Other fields are allowed and ignored, because a newer Fovea may write more.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    class_names: tuple[Name, ...]
    size: Side
    resize: Literal["squash", "crop", "pad"]
    started_from: Name
    sixteen_bit: Literal["high_byte", "stretch"] | Windowed = "high_byte"
    decode: dict[str, Any] | None = None

    @field_validator("decode")
    @classmethod
    def _check_rules(cls, rules: dict[str, Any] | None) -> dict[str, Any] | None:
        if rules is not None:
            try:
                Decode.model_validate_json(json.dumps({**rules, "max_bytes": 1, "max_pixels": 1}))
            except ValidationError as error:
                # An older Fovea may have had fewer rules.
                for wrong in (each for each in error.errors() if each["type"] != "missing"):
                    place = "/".join(map(str, wrong["loc"]))
                    raise ValueError(f"{place}: {wrong['msg']}") from None
        return rules

    @field_validator("class_names")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("no class name")
        for name in names:
            if not is_label(name):
                raise ValueError(
                    f"the class name {name[:60]!r} with {len(name):,} characters, which is not one "
                    f"line of at most {LONGEST_LABEL:,} characters"
                )
        if len(set(names)) < len(names):
            (twice, times), *_ = Counter(names).most_common(1)
            raise ValueError(f"{times} times the class name {twice!r}")
        return names


class _Metadata(BaseModel):
    fovea: Facts


def check_archive(path: Path) -> Facts:
    """Return the facts of a classifier, after a check of everything that Keras reads in its file.

    Raises ValueError, zipfile.BadZipFile, OSError or RecursionError if `write_classifier` cannot
    have written the file. The text of the error says what is wrong.
    """
    import h5py

    with _open(path) as archive:
        facts = _read_facts(archive)
        config = json.loads(archive.read(CONFIG))
        _check_classes(config)
        weights = archive.read(WEIGHTS)  # `read` also compares the checksum of the bytes
    with h5py.File(io.BytesIO(weights), "r") as file:
        stored = _check_weights(file, len(weights))
    needed = call_within(BUILD_LIMIT_S, lambda: _needed_bytes(config))
    if needed > stored:
        raise ValueError(f"{WEIGHTS} with {stored:,} bytes of arrays for {needed:,} bytes")
    return facts


def read_facts(path: Path) -> Facts:
    """Return the facts of a classifier, without a look at its network and its weights.

    Raises ValueError, zipfile.BadZipFile or OSError if `write_classifier` cannot have written
    metadata.json, or the list of members.
    """
    with _open(path) as archive:
        return _read_facts(archive)


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield the zip, after a check of its list of members."""
    with path.open("rb") as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), path.stat().st_size)
            yield archive


def _check_directory(file: IO[bytes]) -> None:
    """Raise ValueError if the zip announces a longer list of members than Fovea writes.

    zipfile reads the complete list into memory, so this is checked before zipfile reads the file.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - ZIP64_BYTES - END.size))
    before, last = (tail := file.read())[: -END.size], tail[-END.size :]
    if len(last) < END.size or not last.startswith(b"PK\x05\x06"):
        raise zipfile.BadZipFile("no zip archive")
    *_, members, directory_bytes, _, _ = END.unpack(last)
    if members != len(MEMBERS) or directory_bytes > LARGEST_DIRECTORY or before.startswith(ZIP64):
        raise ValueError(f"a zip archive with {members} members")


def _check_members(members: list[zipfile.ZipInfo], file_bytes: int) -> None:
    """Raise ValueError if the zip has other members, or bytes that belong to no member.

    file_bytes: the size of the zip.
    """
    if sorted(member.filename for member in members) != MEMBERS:
        names = ", ".join(repr(member.filename) for member in members)
        raise ValueError(f"a zip archive with the members {names}")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(
                f"{member.filename}, {member.compress_size:,} bytes that would be unpacked to "
                f"{member.file_size:,} bytes"
            )
        if member.filename != WEIGHTS and member.file_size > LARGEST_JSON:
            raise ValueError(f"{member.filename} with {member.file_size:,} bytes")
    overhead = file_bytes - sum(member.file_size for member in members)
    first = min(member.header_offset for member in members)
    if first > 0 or overhead > LARGEST_OVERHEAD:
        raise ValueError(f"a zip archive with other bytes ({overhead:,}) than its members")


def _read_facts(archive: zipfile.ZipFile) -> Facts:
    try:
        return _Metadata.model_validate_json(archive.read(METADATA)).fovea
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join([METADATA, *map(str, first["loc"])])
        raise ValueError(f"{place}: {first['msg']}") from None


def _check_classes(config: Any) -> None:
    """Raise ValueError if config.json names a class that no network of Fovea consists of.

    Keras builds an object from each mapping with the key `class_name`, at any depth.
    """
    # Keras does not read how the network was compiled, because `read_classifier` forbids it.
    nodes = [{**config, "compile_config": None}] if isinstance(config, dict) else [config]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if "class_name" in node and str(node["class_name"]) not in CLASSES:
                raise ValueError(f"{CONFIG} with the class {node['class_name']!r}")
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node


def _check_weights(file: Any, file_bytes: int) -> int:
    """Return the bytes of all arrays in an HDF5 file.

    file: the open file. file_bytes: its size. Raises ValueError if the file has more than groups
    and plain arrays of numbers, or if the arrays together announce more bytes than the file has.
    """
    import h5py

    announced = 0
    groups = [file]
    seen = set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)  # does not follow the link
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{WEIGHTS} with a link to another place: {name!r}")
            member = group[name]
            address = h5py.h5o.get_info(member.id).addr
            if address in seen:
                raise ValueError(f"{WEIGHTS} with two names for one object: {name!r}")
            seen.add(address)
            if isinstance(member, h5py.Group):
                groups.append(member)
            else:
                announced += _check_array(member, name)
    if announced > file_bytes:
        raise ValueError(f"{WEIGHTS} with {file_bytes:,} bytes for {announced:,} bytes of arrays")
    return announced


def _check_array(array: Any, name: str) -> int:
    """Return the bytes of an array in an HDF5 file.

    Raises ValueError if the numbers are compressed, computed, in another file, or not there.
    """
    import h5py

    plain = (
        isinstance(array, h5py.Dataset) and array.shape is not None and array.dtype.kind in "biuf"
    )
    if not plain or array.chunks or array.external or array.is_virtual:
        raise ValueError(f"{WEIGHTS} with {name!r}, which is no plain array")
    announced = int(math.prod(array.shape)) * int(array.dtype.itemsize)
    if array.id.get_storage_size() != announced:
        raise ValueError(f"{WEIGHTS} with {name!r}, an array without numbers")
    return announced


def _needed_bytes(config: Any) -> int:
    """Return the bytes of the weights of the network that config.json describes.

    The network is built without its weights, because a few bytes of config.json can describe more
    weights than the memory holds. This must be called in a thread of its own: Keras keeps a list of
    weights without values for each thread, and would create the weights of this list later.
    """
    import keras

    # Keras draws a random number for each random initial weight. The numbers that others draw must
    # not depend on it.
    state = random.getstate()
    try:
        with keras.StatelessScope(initialize_variables=False):
            described = {**config, "compile_config": None}
            network = keras.saving.deserialize_keras_object(described, safe_mode=True)
        weights = [(weight.shape, np.dtype(weight.dtype)) for weight in network.weights]
    finally:
        random.setstate(state)
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in weights)
