"""L3 and L4: a changed file is not loaded; a hostile one runs nothing, reads nothing and is small.

Every file here is a real model file of which one thing was changed.
"""

import io
import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from components.errors import UserError
from components.model import archive_checks
from components.model.archive_checks import (
    CLASSES,
    CONFIG,
    LARGEST_JSON,
    METADATA,
    WEIGHTS,
    check_archive,
)
from components.model.backbones import build_backbone
from components.model.classifier import build_classifier
from components.model.model_file import read_classifier, read_started_from, write_classifier
from components.params.reader import Params
from tests.families import TRIED

NAMES = [f"class {number}" for number in range(10)]
SIZE = 8
RULES = {
    **{"sixteen_bit": "high_byte", "cmyk": "convert", "grey": "repeat", "palette": "expand"},
    **{"alpha": "blend", "background": [0, 0, 0], "icc_profile": "srgb"},
}


@pytest.fixture(scope="module")
def members(
    params: Params, tiny_backbone: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The three members of a real model file with ten classes."""
    path = tmp_path_factory.mktemp("model") / "m.keras"
    write_classifier(path, build_classifier(params.model, NAMES, SIZE, "crop"))
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def pack(members: dict[str, bytes], tmp_path: Path) -> Callable[..., Path]:
    """Write a model file, with other content of some members, and with more members."""

    def pack(
        changed: dict[str, bytes] | None = None,
        more: tuple[tuple[str, bytes], ...] = (),
        compression: int = zipfile.ZIP_STORED,
    ) -> Path:
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns about a name that comes twice
            for name, content in [*{**members, **(changed or {})}.items(), *more]:
                archive.writestr(name, content)
        return path

    return pack


def refusal(path: Path) -> str:
    """Return what is received according to the one sentence that refuses the file."""
    with pytest.raises(UserError) as refused:
        read_classifier(path)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert "is damaged, or is not a model file that Fovea wrote" in sentence
    return sentence.partition("Received: ")[2]


def facts(**changes: Any) -> bytes:
    tree = {"class_names": NAMES, "size": SIZE, "resize": "crop", "started_from": "none"}
    return json.dumps({"keras_version": "3.15.1", "fovea": {**tree, **changes}}).encode()


def test_an_unchanged_file_is_read(pack: Callable[..., Path]) -> None:
    assert read_classifier(pack()).class_names == tuple(NAMES)


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"class_names": ["cat"]}, "1 class names and images of 8 pixels for a network"),
        ({"class_names": [*NAMES, "cat"]}, "11 class names"),
        ({"class_names": []}, "no class name"),
        ({"class_names": [*NAMES[:-1], NAMES[0]]}, "2 times the class name 'class 0'"),
        ({"class_names": [*NAMES[:-1], ""]}, "metadata.json/fovea/class_names/9: "),
        ({"class_names": [*NAMES[:-1], "c\nat"]}, "the class name 'c\\nat' with 4 characters"),
        ({"class_names": [*NAMES[:-1], "c" * 1_001]}, "ccc' with 1,001 characters"),
        ({"class_names": [*NAMES[:-1], 3]}, "metadata.json/fovea/class_names/9: "),
        ({"class_names": "0123456789"}, "metadata.json/fovea/class_names: "),
        ({"size": 16}, "images of 16 pixels for a network from (None, 8, 8, 3)"),
        ({"size": 10**9}, "metadata.json/fovea/size: "),
        ({"resize": "shrink"}, "metadata.json/fovea/resize: "),
        ({"sixteen_bit": {"window": {"low": 9, "high": 2**16}}}, "metadata.json/fovea/sixteen_bit"),
        ({"decode": {**RULES, "alpha": "mix"}}, "metadata.json/fovea/decode: Value error, alpha: "),
        ({"decode": {"url": "http"}}, "metadata.json/fovea/decode: Value error, url: "),
    ],
)
def test_facts_that_do_not_fit_the_network_are_refused(
    changes: dict[str, Any], received: str, pack: Callable[..., Path]
) -> None:
    assert received in refusal(pack({METADATA: facts(**changes)}))


@pytest.mark.parametrize("name", [METADATA, CONFIG])
@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"{", b"\xff", b"3"]
)
def test_nested_or_broken_json_is_one_sentence(
    name: str, content: bytes, pack: Callable[..., Path]
) -> None:
    assert refusal(pack({name: content}))


def test_networks_within_networks_without_end_are_one_sentence(
    members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    config = json.loads(members[CONFIG])
    for _ in range(300):
        config = {**config, "config": {**config["config"], "layers": [config]}}
    assert refusal(pack({CONFIG: json.dumps(config).encode()}))


@pytest.mark.parametrize(
    "name",
    ["../../outside.py", "/tmp/outside.py", "code/loader.py", "assets/x", "model.weights.npz",
     "C:\\outside", METADATA, WEIGHTS],
)  # fmt: skip
def test_another_member_is_refused_whatever_its_name(
    name: str, pack: Callable[..., Path], tmp_path: Path
) -> None:
    def files() -> set[Path]:
        beside = {*tmp_path.parent.iterdir(), *tmp_path.parent.parent.iterdir()}
        return {*tmp_path.rglob("*"), *beside}

    before = files()
    path = pack(more=((name, b"print('run')"),))
    assert refusal(path) == "a zip archive with 4 members"
    assert files() == {*before, path}


@pytest.mark.parametrize("junk", [1, 2_000])
def test_bytes_before_the_zip_are_refused(junk: int, pack: Callable[..., Path]) -> None:
    path = pack()
    path.write_bytes(b"#" * junk + path.read_bytes())
    assert re.fullmatch(r"a zip archive with other bytes \(.*\) than its members", refusal(path))


def test_bytes_between_the_members_are_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, content) in enumerate(members.items()):
            archive.writestr(name, content)
            if number == 0:
                archive.fp.write(b"#" * 2_000)  # type: ignore[union-attr]
                archive.start_dir += 2_000  # type: ignore[attr-defined]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert "a zip archive with other bytes" in refusal(path)


def test_a_renamed_member_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace(".h5", ".npz"), content)
    assert "'model.weights.npz'" in refusal(path)


@pytest.mark.parametrize("name", [METADATA, CONFIG])
def test_a_small_file_that_would_become_large_is_refused_before_it_is_unpacked(
    name: str, members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    path = pack({name: members[name] + b" " * 50_000_000}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    assert "bytes that would be unpacked to" in refusal(path)
    with pytest.raises(UserError):
        read_started_from(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", [METADATA, CONFIG])
def test_json_that_is_really_large_is_refused_before_it_is_read(
    name: str, pack: Callable[..., Path]
) -> None:
    assert refusal(pack({name: b"[" + b"{}," * (LARGEST_JSON // 3) + b"1]"})).startswith(name)


def test_a_member_that_announces_too_few_bytes_is_refused(
    members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    path = pack()
    content = path.read_bytes()
    announced, fewer = (
        2 * size.to_bytes(4, "little") for size in (len(members[CONFIG]), len(members[CONFIG]) - 9)
    )
    start = content.rindex(announced)  # in the list of members at the end of the zip
    path.write_bytes(content[:start] + fewer + content[start + len(fewer) :])
    assert "CRC" in refusal(path)


def test_a_long_list_of_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5_000):
            archive.writestr(f"{number}", b"")
    tracemalloc.start()
    assert refusal(path) == "a zip archive with 5000 members"
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("name", [METADATA, CONFIG, WEIGHTS])
def test_one_changed_byte_is_noticed_in_every_member(
    name: str, share: float, members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    path = pack()
    content = bytearray(path.read_bytes())
    content[content.index(members[name]) + int(share * len(members[name]))] ^= 1
    path.write_bytes(bytes(content))
    assert "CRC" in refusal(path)


def hdf5(change: Callable[[h5py.File], None], weights: bytes) -> bytes:
    stream = io.BytesIO(weights)
    with h5py.File(stream, "r+") as file:
        change(file)
    return stream.getvalue()


def first_array(file: h5py.File) -> str:
    def name_of_array(name: str, item: Any) -> str | None:
        return name if isinstance(item, h5py.Dataset) else None  # a name ends the walk

    return str(file.visititems(name_of_array))


def replace_array(**how: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        name = first_array(file)
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        file.create_dataset(name, **{"shape": shape, "dtype": dtype, **how})

    return change


def link(target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        name = first_array(file)
        del file[name]
        file[name] = target

    return change


def other_link(target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["layers/zz"] = target

    return change


def virtual(file: h5py.File) -> None:
    name = first_array(file)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", shape)
    file.create_virtual_dataset(name, layout)


def twice(file: h5py.File) -> None:
    file["layers/zz"] = file[first_array(file)]


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (link(h5py.ExternalLink("/etc/hostname", "/x")), "a link to another place"),
        (other_link(h5py.ExternalLink("outside.h5", "/")), "a link to another place: 'zz'"),
        (link(h5py.SoftLink("/layers")), "a link to another place"),
        (replace_array(external=[("/etc/hostname", 0, 100_000)]), "no plain array"),
        (virtual, "no plain array"),
        (replace_array(shape=(10**6, 10**6), dtype="f4"), "an array without numbers"),
        (replace_array(shape=(10**9,), chunks=(1024,), compression="gzip"), "no plain array"),
        (replace_array(dtype=h5py.string_dtype()), "no plain array"),
        (other_link(np.dtype("f4")), "no plain array"),
        (twice, "two names for one object"),
    ],
)
def test_weights_that_are_not_plain_numbers_in_the_file_are_refused(
    change: Callable[[h5py.File], None],
    received: str,
    members: dict[str, bytes],
    pack: Callable[..., Path],
) -> None:
    assert received in refusal(pack({WEIGHTS: hdf5(change, members[WEIGHTS])}))


def test_a_network_with_more_weights_than_the_file_is_refused_before_it_is_built(
    members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    """A head of 96 TB, described with the bytes of a small one."""
    config = members[CONFIG].replace(b'"units": 10', b'"units": 1000000000000')
    assert config != members[CONFIG]
    received = refusal(pack({CONFIG: config}))
    assert received.startswith("model.weights.h5 with ")
    assert "bytes of arrays for 19" in received  # 4 bytes for each of 48 weights and a bias
    assert read_classifier(pack()).class_names == tuple(NAMES)  # nothing is left over


def test_reading_a_file_draws_no_random_number(pack: Callable[..., Path]) -> None:
    path = pack()
    random.seed(1)
    expected = random.random()
    random.seed(1)
    check_archive(path)
    assert random.random() == expected


def test_a_pickle_and_text_as_weights_are_refused(pack: Callable[..., Path]) -> None:
    for content in (b"\x80\x04cos\nsystem\n", b"", b"not HDF5" * 100):
        assert refusal(pack({WEIGHTS: content}))


@pytest.mark.parametrize(
    ("module", "name", "config"),
    [
        ("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
        ("keras.layers", "TFSMLayer", {"filepath": "/tmp/saved_model"}),
        ("keras.layers", "TorchModuleWrapper", {"module": "AAAA"}),
        ("keras.utils", "function", "get_file"),
        ("builtins", "__lambda__", {"value": "AAAA"}),
        ("os", "system", {"command": "true"}),
        (None, ["Dense"], {}),
    ],
)
def test_a_class_that_no_network_of_fovea_has_is_refused(
    module: str | None, name: Any, config: Any, members: dict[str, bytes], pack: Callable[..., Path]
) -> None:
    tree = json.loads(members[CONFIG])
    hidden = {"module": module, "class_name": name, "config": config, "registered_name": None}
    tree["config"]["layers"][-1]["config"]["anything"] = [{"deeper": hidden}]
    assert refusal(pack({CONFIG: json.dumps(tree).encode()})) == (
        f"{CONFIG} with the class {name!r}"
    )


@pytest.fixture
def with_lambda(pack: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A model file with a real Lambda layer, and the file that its code would write."""
    import keras

    trace = tmp_path / "the code ran"
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    wicked = keras.layers.Lambda(
        lambda pixels: (open("the code ran", "w").close(), pixels)[1] / 255,  # noqa: PTH123
        output_shape=(SIZE, SIZE, 3),
        name="backbone",
    )
    hidden = keras.layers.Dropout(0.1, name="dropout")(
        keras.layers.GlobalAveragePooling2D(name="pool")(wicked(images))
    )
    logits = keras.layers.Dense(10, name="logits")(hidden)
    model = keras.Model(images, keras.layers.Softmax(name="probabilities")(logits))
    trace.unlink(missing_ok=True)
    saved = tmp_path / "saved.keras"
    model.save(saved)
    with zipfile.ZipFile(saved) as archive:
        content = {name: archive.read(name) for name in (CONFIG, WEIGHTS)}
    assert b'"Lambda"' in content[CONFIG]
    return pack({METADATA: facts(), **content}), trace


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_lambda_is_refused_and_its_code_is_not_run(with_lambda: tuple[Path, Path]) -> None:
    path, trace = with_lambda
    trace.unlink(missing_ok=True)
    assert refusal(path) == f"{CONFIG} with the class 'Lambda'"
    assert not trace.exists()


def test_keras_refuses_a_lambda_too(
    with_lambda: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of classes is one guard; this test is for the second, Keras' safe mode."""
    path, trace = with_lambda
    trace.unlink(missing_ok=True)
    monkeypatch.setattr(archive_checks, "CLASSES", {*CLASSES, "Lambda", "__lambda__"})
    assert "Lambda" in refusal(path)
    assert not trace.exists()


LOAD = """
import resource, sys
from pathlib import Path
from components.errors import UserError
from components.model.backend import load_keras
from components.model.model_file import read_classifier
load_keras()
import h5py, keras
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_classifier(Path(sys.argv[1]))
except UserError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [METADATA, CONFIG, WEIGHTS])
def test_a_bomb_needs_less_than_100_mb(
    name: str, members: dict[str, bytes], tmp_path: Path
) -> None:
    """A file below 2 MB that unpacks to 0.5 GB. Without the check, one of 1.5 GB took 3.7 GB of
    memory.
    """
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            with archive.open(member, "w") as file:
                file.write(content)
                for _ in range(500 if member == name else 0):
                    file.write(b" " * 1_000_000)
    assert path.stat().st_size < 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        cwd=Path(__file__).parents[3],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    sentence, megabytes = done.stdout.splitlines()[-2:]
    assert "would be unpacked to" in sentence
    assert int(megabytes) < 100


@pytest.mark.slow
def test_the_networks_that_fovea_builds_may_be_read(params: Params) -> None:
    """Its classes are in the list, and its config.json is at most half as large as allowed."""
    import keras

    for name in (*TRIED, "efficientnet_b7", "convnext_large"):  # the last two are the largest
        model = params.model.model_copy(update={"backbone": name, "width": 1.0})
        with keras.StatelessScope(initialize_variables=False):  # without the weights
            backbone = build_backbone(model.model_copy(update={"weights": "none"}), 96)
        config = json.dumps(keras.saving.serialize_keras_object(backbone)).encode()
        archive_checks._check_classes(json.loads(config))
        assert len(config) < LARGEST_JSON / 2, name
        keras.backend.clear_session()
