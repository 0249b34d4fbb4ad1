"""The one decoder: what it makes of good bytes, and what it calls bad ones."""

import io
import random
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from components.data.images import Fault, Pixels, decode, encode_png, resize
from components.params import read_params

WRITTEN = read_params(Path(__file__).parents[3] / "params.yaml").ingest.decode
DECODE = WRITTEN.model_copy(update={"max_pixels": 1_000_000})


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def noise(height: int = 40, width: int = 60) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def code_of(data: bytes) -> str:
    with pytest.raises(Fault) as caught:
        decode(data, DECODE)
    return caught.value.code


def png_of(width: int, height: int) -> bytes:
    """A PNG of some bytes whose header promises so many grey pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + sums

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_back_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(saved(Pillow.fromarray(noise()), kind, **options), DECODE)
    assert np.array_equal(image.pixels, noise())
    facts = (image.format, image.width, image.height, image.mode, image.bit_depth)
    assert facts == (kind.lower(), 60, 40, "RGB", 8)


def test_jpeg_is_named_by_its_content() -> None:
    image = decode(saved(Pillow.fromarray(noise()), "JPEG"), DECODE)
    assert (image.format, image.frames, image.orientation) == ("jpeg", 1, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(orientation: int) -> None:
    upright = np.zeros((20, 30, 3), np.uint8)
    upright[:10, :15] = 255
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = Pillow.fromarray(np.ascontiguousarray(turned))
    image = decode(saved(stored, "PNG", exif=exif), DECODE)
    assert np.array_equal(image.pixels, upright)
    assert (image.orientation, image.width, image.height) == (orientation, 30, 20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_loses_no_image() -> None:
    data = saved(Pillow.fromarray(noise()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    assert decode(data, DECODE).orientation == 1


def test_sixteen_bits_keep_their_high_byte_in_grey() -> None:
    grey = np.array([[0, 255, 256, 32767, 65535]], np.uint16)
    image = decode(saved(Pillow.fromarray(grey), "PNG"), DECODE)
    assert image.pixels[0, :, 0].tolist() == [0, 0, 1, 127, 255]
    assert image.bit_depth == 16


def test_sixteen_bits_keep_their_high_byte_in_colour() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + sums

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    content = zlib.compress(b"\0" + struct.pack(">HHH", 255, 32767, 65535))
    start = b"\x89PNG\r\n\x1a\n"
    data = start + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    image = decode(data, DECODE)
    assert image.pixels[0, 0].tolist() == [0, 127, 255]
    assert image.bit_depth == 16


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_transparency_shows_the_background(mode: str) -> None:
    options: dict[str, Any] = {}
    if mode == "P":
        image = Pillow.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30])
        options["transparency"] = 0
    elif mode == "I;16":
        image = Pillow.fromarray(np.full((4, 4), 300, np.uint16))
        options["transparency"] = 300
    else:
        image = Pillow.new(mode, (4, 4))
    green = DECODE.model_copy(update={"background": (0, 200, 0)})
    assert decode(saved(image, "PNG", **options), green).pixels[0, 0].tolist() == [0, 200, 0]


def test_half_transparent_pixels_are_mixed_with_the_background() -> None:
    image = decode(saved(Pillow.new("RGBA", (4, 4), (255, 0, 0, 128)), "PNG"), DECODE)
    assert image.pixels[0, 0].tolist() == [255, 127, 127]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "P"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Pillow.fromarray(noise()).convert(mode)
    data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
    assert decode(data, DECODE).pixels.shape == (40, 60, 3)
    assert decode(data, DECODE).mode == mode


def test_a_phone_picture_with_further_pictures_is_its_first() -> None:
    first, second = Pillow.fromarray(noise()), Pillow.new("RGB", (60, 40))
    image = decode(saved(first, "MPO", save_all=True, append_images=[second]), DECODE)
    assert (image.format, image.frames) == ("jpeg", 2)
    assert image.pixels.std() > 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_a_fault(kind: str) -> None:
    frames = [Pillow.fromarray(noise()), Pillow.new("RGB", (60, 40))]
    assert code_of(saved(frames[0], kind, save_all=True, append_images=frames[1:])) == "animated"


def test_bytes_that_are_no_image_are_named() -> None:
    assert code_of(b"") == "empty_file"
    assert code_of(b"<!DOCTYPE html><html></html>") == "not_an_image"
    for kind in ("GIF", "TIFF", "ICO"):
        assert code_of(saved(Pillow.new("RGB", (16, 16)), kind)) == "unsupported_format"


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    assert code_of(png_of(1001, 1000)) == "too_many_pixels"
    assert code_of(png_of(50_000, 50_000)) == "too_many_pixels"


@pytest.mark.parametrize("pillows_cap", [1_500, 1_000])  # of which it warns, and which it refuses
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_our_cap_decides_alone_and_pillow_says_nothing(
    kind: str, pillows_cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(Pillow.fromarray(noise()), kind)  # 2,400 pixels
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", pillows_cap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, DECODE).pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_truncated(kind: str, share: float) -> None:
    data = saved(Pillow.fromarray(noise()), kind)
    assert code_of(data[: int(len(data) * share)]) == "truncated"


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(saved(Pillow.fromarray(noise()), "PNG", compress_level=0))
    data[len(data) // 2] ^= 1
    assert code_of(bytes(data)) == "damaged"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_no_bytes_make_it_raise_anything_but_a_fault(kind: str) -> None:
    chance = random.Random(0)
    clean = saved(Pillow.fromarray(noise()), kind)
    for _ in range(400):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(min(len(data), chance.choice([64, len(data)])))] = (
                chance.randrange(256)
            )
        if chance.random() < 0.5:
            del data[chance.randrange(len(data)) :]
        try:
            assert decode(bytes(data), DECODE).pixels.dtype == np.uint8
        except Fault as fault:
            assert fault.code


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (1, 500), (8, 8)])
def test_every_way_of_resizing_gives_a_square(how: Any, shape: tuple[int, int]) -> None:
    small = resize(noise(*shape), 32, how)
    assert (small.shape, small.dtype) == ((32, 32, 3), np.uint8)


def test_crop_cuts_and_pad_fills_the_sides() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    assert resize(wide, 20, "crop").min() == 255
    padded = resize(wide, 60, "pad")
    assert padded[:20].max() == 0
    assert padded[20:40, 20:40].min() == 255


def test_resizing_down_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(resize(stripes, 8, "squash").astype(int) - 127).max() <= 8


def test_png_of_pixels_decodes_to_the_same_pixels() -> None:
    assert np.array_equal(decode(encode_png(noise()), DECODE).pixels, noise())
    grey = decode(encode_png(noise()[..., 0]), DECODE)
    assert np.array_equal(grey.pixels[..., 1], noise()[..., 0])
