"""Every kind of file in a folder of images: the right code, the right pixels, no harm done."""

import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.images.decoder import Fault, Image, decode
from components.params.ingest import Decode
from components.params.reader import Params
from tests.components.images.bombs import bombs
from tests.components.images.corpus import Case, cases, clean

ROOT = Path(__file__).parents[3]
MB = 1_000_000
# Reads `<length><bytes>` again and again; says the code and the growth of its peak memory, in kB.
CHILD = """
import resource, struct, sys
from pathlib import Path
from components.images.decoder import Fault, decode
from components.params.reader import read_params

written = read_params(Path("pipelines/commands/cards/digits.yaml")).ingest.decode
rules = [written.model_copy(update={"icc_profile": how}) for how in ("ignore", "srgb")]
start = 0
while length := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(*struct.unpack("<Q", length))
    for params in rules:
        try:
            code = decode(data, params).pixels[:0].size or "None"
        except Fault as fault:
            code = fault.code
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = start or peak
        print(code, peak - start)
    data = None
"""


@pytest.fixture(scope="module")
def decoded(params: Params) -> list[tuple[Case, Image | Fault]]:
    return [(case, attempt(case.data, params.ingest.decode)) for case in cases()]


def attempt(data: bytes, params: Decode) -> Image | Fault:
    try:
        return decode(data, params)
    except Fault as fault:
        return fault


def test_there_are_more_than_forty_kinds_and_none_twice(
    decoded: list[tuple[Case, Image | Fault]],
) -> None:
    names = [case.name for case, _ in decoded]
    assert len(set(names)) == len(names) > 200
    assert {case.code for case, _ in decoded} >= {"truncated", "damaged", "animated", None}


def test_every_file_gets_exactly_its_code(decoded: list[tuple[Case, Image | Fault]]) -> None:
    got = {case.name: getattr(result, "code", None) for case, result in decoded}
    assert got == {case.name: case.code for case, _ in decoded}


def test_sound_files_give_the_pixels_they_hold(
    decoded: list[tuple[Case, Image | Fault]],
) -> None:
    known = [(case, result) for case, result in decoded if case.pixels is not None]
    wrong = [
        case.name
        for case, result in known
        if not (isinstance(result, Image) and np.array_equal(result.pixels, case.pixels))
    ]
    assert (wrong, len(known) > 90) == ([], True)


def test_a_fault_is_one_readable_sentence_with_all_that_is_known(
    decoded: list[tuple[Case, Image | Fault]],
) -> None:
    faults = {case.name: result for case, result in decoded if isinstance(result, Fault)}
    for name, fault in faults.items():
        assert re.fullmatch(r"[^\n]{12,200}", fault.text), (name, fault.text)
        assert "object at 0x" not in fault.text
        unknown = fault.code in ("empty_file", "not_an_image") and "npy" not in name
        assert (fault.facts.format is None) == unknown, name
    assert (faults["jpeg_zeroed_late"].facts.width, faults["png_animated"].facts.frames) == (128, 2)
    assert "git lfs pull" in faults["lfs_pointer"].text
    assert "web page" in faults["html"].text


def test_two_thousand_clean_files_raise_no_alarm(params: Params) -> None:
    results = {name: attempt(data, params.ingest.decode) for name, data in clean(2000)}
    alarms = {name: result.text for name, result in results.items() if isinstance(result, Fault)}
    assert (alarms, len(results)) == ({}, 2000)


def test_trashnet_raises_no_alarm(params: Params, shared: Path) -> None:
    files = sorted((shared / "datasets" / "trashnet").glob("*/*.jpg"))
    results = {path.name: attempt(path.read_bytes(), params.ingest.decode) for path in files}
    alarms = {name: result.text for name, result in results.items() if isinstance(result, Fault)}
    assert (alarms, len(results)) == ({}, 2527)


def test_damage_within_a_scan_is_found_as_often_as_the_page_on_the_decoder_says(
    params: Params, shared: Path
) -> None:
    chance = random.Random(0)
    files = sorted((shared / "datasets" / "trashnet").glob("*/*.jpg"))[::5]
    found = {512: 0, 64: 0}
    images = [data for path in files if len(data := path.read_bytes()) > 5000]
    for data in images:
        for count in found:
            start = chance.randrange(data.index(b"\xff\xda") + 14, len(data) - count - 2)
            damaged = data[:start] + bytes(count) + data[start + count :]
            found[count] += isinstance(attempt(damaged, params.ingest.decode), Fault)
    assert found[512] > 0.9 * len(images)
    assert found[64] > 0.5 * len(images)


def test_bombs_are_refused_or_read_in_less_than_100_mb() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=False,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    small = next(iter(cases()))  # what the first call needs is no bomb's doing
    expected = [(small.name, small.code)]
    process.stdin.write(struct.pack("<Q", len(small.data)) + small.data)
    for bomb in bombs():
        process.stdin.write(struct.pack("<Q", len(bomb.data)))
        process.stdin.write(bomb.data)
        expected.append((bomb.name, bomb.code))
    process.stdin.close()
    lines = [line.split() for line in process.stdout.read().decode().splitlines()]
    process.stdout.close()
    codes = [(name, str(code)) for name, code in expected for _ in ("ignore", "srgb")]
    assert [(name, line[0]) for (name, _), line in zip(codes, lines, strict=True)] == codes
    assert process.wait() == 0
    assert max(int(line[1]) for line in lines) * 1024 < 100 * MB
