"""The one decoder: its rules, one by one; what it makes of whole files is in test_corpus."""

import random
import struct
import warnings
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image as Pillow
from PIL import ImageCms

from components.images.decoder import Fault, decode, resize
from components.images.png_writer import encode_png
from components.params.ingest import Decode, Window, Windowed
from components.params.reader import Params
from tests.components.images.crafted import (
    black_alone,
    bmp,
    chunk,
    exif,
    flat_jpeg,
    linear_grey,
    noise,
    npy,
    png,
    profile,
    reference,
    saved,
    scene,
    segment,
    upright,
    with_segments,
)

REFUSING = {
    "sixteen_bit": "refuse",
    "cmyk": "refuse",
    "grey": "refuse",
    "palette": "refuse",
    "alpha": "refuse",
    "icc_profile": "refuse",
}
CLEAR = np.dstack([noise(), np.arange(2400, dtype=np.uint32).reshape(40, 60).astype(np.uint8)])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def rules(params: Params) -> Decode:
    return params.ingest.decode.model_copy(update={"max_pixels": 1_000_000})


def code_of(data: bytes, rules: Decode, **update: object) -> str | None:
    try:
        decode(data, rules.model_copy(update=update))
    except Fault as fault:
        return fault.code
    return None


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_back_every_pixel(kind: str, rules: Decode) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(saved(noise(), kind, **options), rules)
    assert np.array_equal(image.pixels, noise())
    facts = (image.format, image.width, image.height, image.mode, image.bit_depth)
    assert facts == (kind.lower(), 60, 40, "RGB", 8)


@pytest.mark.parametrize("size", [(96, 128), (95, 127), (17, 9), (1, 1), (1, 40), (33, 2)])
def test_jpegs_of_every_sampling_equal_pillows(size: tuple[int, int], rules: Decode) -> None:
    for pixels in (scene(*size), noise(*size)):
        files = [
            simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=sampling)
            for sampling in ("444", "422", "420", "440", "411", "Gray")
            for quality in (1, 50, 100)
        ]
        files += [
            saved(image, "JPEG", progressive=progressive, quality=quality, **options)
            for image in (pixels, pixels[..., 0], Pillow.fromarray(pixels).convert("CMYK"))
            for progressive in (False, True)
            for quality in (1, 50, 90)
            for options in ({}, {"restart_marker_blocks": 2}, {"optimize": True})
        ]
        files += [saved(pixels, "JPEG", keep_rgb=True)]
        for data in files:
            difference = np.abs(decode(data, rules).pixels.astype(int) - reference(data))
            assert difference.max() <= 1  # measured: 0


def test_pixels_of_a_jpeg_are_handed_out_as_the_decoder_wrote_them(rules: Decode) -> None:
    pixels = decode(saved(scene(), "JPEG"), rules).pixels
    assert (pixels.flags.owndata, pixels.flags.c_contiguous) == (True, True)


def test_a_jpeg_that_turbojpeg_cannot_name_is_read_all_the_same(rules: Decode) -> None:
    data = flat_jpeg((128, 64), luma=0x42)
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(data)
    assert decode(data, rules).pixels.shape == (64, 128, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(kind: str, orientation: int, rules: Decode) -> None:
    stored = decode(saved(scene(20, 30), kind), rules).pixels
    image = decode(saved(scene(20, 30), kind, exif=exif(orientation)), rules)
    assert np.array_equal(image.pixels, upright(stored, orientation))
    assert image.orientation == orientation
    assert (image.height, image.width, 3) == image.pixels.shape
    assert image.pixels.flags.c_contiguous


def test_orientation_6_is_a_quarter_turn_to_the_right(rules: Decode) -> None:
    stored = np.zeros((2, 4, 3), np.uint8)
    stored[0, 0] = 255  # its corner at the top left ends at the top right
    image = decode(saved(stored, "PNG", exif=exif(6)), rules)
    assert image.pixels[0, -1].tolist() == [255, 255, 255]
    assert image.pixels.sum() == 3 * 255


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("sixteen_bit", png(b"\0" + bytes(12), (2, 1), 16, 2)),
        ("sixteen_bit", npy(np.zeros((2, 2, 3), np.uint16))),
        ("cmyk", saved(Pillow.new("CMYK", (8, 8)), "JPEG")),
        ("grey", saved(noise()[..., 0], "PNG")),
        ("grey", saved(noise()[..., 0], "JPEG")),
        ("grey", saved(Pillow.new("1", (8, 8)), "PNG")),
        ("grey", saved(Pillow.new("LA", (8, 8), (0, 255)), "PNG")),
        ("grey", saved(Pillow.new("L", (8, 8)), "BMP")),
        ("grey", npy(noise()[..., 0])),
        ("grey", npy(noise()[..., :1])),
        ("palette", saved(Pillow.new("P", (8, 8)), "PNG")),
        ("palette", bmp(np.zeros((4, 4), np.uint8), 4)),
        ("transparent", saved(CLEAR, "PNG")),
        ("transparent", saved(CLEAR, "WEBP")),
        ("transparent", npy(CLEAR)),
        ("transparent", saved(noise(), "PNG", transparency=tuple(noise()[0, 0].tolist()))),
        ("icc_profile", saved(scene(), "JPEG", icc_profile=profile())),
        ("icc_profile", saved(scene(), "PNG", icc_profile=profile())),
        ("icc_profile", saved(scene(), "WEBP", icc_profile=profile())),
        ("icc_profile", saved(scene(), "PNG", icc_profile=b"nonsense")),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_each_case_can_be_refused_and_is_taken_otherwise(
    code: str, data: bytes, rules: Decode
) -> None:
    key = "alpha" if code == "transparent" else code
    assert code_of(data, rules, **{key: "refuse"}) == code
    assert code_of(data, rules, **{**REFUSING, key: getattr(rules, key)}) is None
    with pytest.raises(Fault, match=f"ingest.decode.{key}"):
        decode(data, rules.model_copy(update={key: "refuse"}))


def test_a_transparent_palette_counts_as_both(rules: Decode) -> None:
    data = saved(Pillow.new("P", (4, 4)), "PNG", transparency=0)
    assert code_of(data, rules, palette="refuse") == "palette"
    assert code_of(data, rules, alpha="refuse") == "transparent"


def test_a_transparent_colour_of_16_bits_can_only_be_refused(rules: Decode) -> None:
    row, key = b"\0" + struct.pack(">3H", 1, 2, 3), chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    data = png(row, (1, 1), 16, 2, key)
    assert code_of(data, rules, alpha="refuse") == "transparent"
    assert decode(data, rules).pixels.max() == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_where_all_is_refused_plain_colour_is_not(kind: str, rules: Decode) -> None:
    assert code_of(saved(noise(), kind), rules, **REFUSING) is None
    assert code_of(npy(noise()), rules, **REFUSING) is None


def test_an_alpha_channel_that_hides_nothing_is_not_transparent(rules: Decode) -> None:
    opaque = np.dstack([noise(), np.full((40, 60), 255, np.uint8)])
    assert code_of(saved(opaque, "PNG"), rules, alpha="refuse") is None


def test_sixteen_bits_keep_their_high_byte(rules: Decode) -> None:
    grey = np.array([[0, 255, 256, 32767, 65535]], np.uint16)
    image = decode(saved(Pillow.fromarray(grey), "PNG"), rules)
    assert image.pixels[0, :, 0].tolist() == [0, 0, 1, 127, 255]
    assert (image.bit_depth, image.mode) == (16, "I;16")
    assert np.array_equal(decode(npy(grey), rules).pixels, image.pixels)


def scaled(values: np.ndarray[Any, Any], low: int, high: int) -> list[int]:
    """Return 255 * (value - low) / (high - low), rounded, cut at 0 and 255."""
    return [int(max(0, min(255, (int(v) - low) * 255 / (high - low))) + 0.5) for v in values.flat]


DEEP = np.array([[[0, 100, 4095], [7, 2000, 5000]]], np.uint16)  # 12 bits, and a few values above
WINDOW = Windowed(window=Window(low=100, high=4095))


@pytest.mark.parametrize("kind", [".png", ".tiff", "npy"])
@pytest.mark.parametrize("channels", ["grey", "colour", "alpha"])
def test_sixteen_bits_are_stretched_or_seen_through_a_window(
    kind: str, channels: str, rules: Decode
) -> None:
    values = DEEP[..., 1] if channels == "grey" else DEEP
    stored = np.dstack([DEEP, np.full((1, 2), 65535, np.uint16)]) if channels == "alpha" else values
    turned = stored if channels == "grey" else stored[..., [2, 1, 0, 3][: stored.shape[2]]]
    data = npy(stored) if kind == "npy" else cv2.imencode(kind, turned)[1].tobytes()
    high, stretched, windowed = (
        decode(data, rules.model_copy(update={"sixteen_bit": how})).pixels
        for how in ("high_byte", "stretch", WINDOW)
    )
    shape = (1, 2, 1 if channels == "grey" else 3)
    low, top = int(values.min()), int(values.max())
    for pixels, expected in (
        (high, (values >> 8).ravel().tolist()),
        (stretched, scaled(values, low, top)),
        (windowed, scaled(values, 100, 4095)),
    ):
        assert np.array_equal(pixels, np.broadcast_to(np.reshape(expected, shape), (1, 2, 3)))


def test_the_rule_for_16_bits_changes_no_image_of_8_bits(rules: Decode) -> None:
    for data in (saved(noise(), "PNG"), npy(noise()), saved(noise(), "TIFF")):
        for how in ("stretch", WINDOW):
            update = rules.model_copy(update={"sixteen_bit": how})
            assert np.array_equal(decode(data, update).pixels, noise())


def test_stretching_a_picture_of_one_value_gives_black(rules: Decode) -> None:
    flat = npy(np.full((4, 4), 777, np.uint16))
    assert decode(flat, rules.model_copy(update={"sixteen_bit": "stretch"})).pixels.max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_transparency_shows_the_background(mode: str, rules: Decode) -> None:
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
    green = rules.model_copy(update={"background": (0, 200, 0)})
    assert decode(saved(image, "PNG", **options), green).pixels[0, 0].tolist() == [0, 200, 0]


@pytest.mark.parametrize(("alpha", "shown"), [("blend", [255, 127, 127]), ("drop", [255, 0, 0])])
def test_half_transparent_red_is_mixed_with_the_background_or_red(
    alpha: str, shown: list[int], rules: Decode
) -> None:
    update = rules.model_copy(update={"alpha": alpha})
    red = Pillow.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert decode(saved(red, "PNG"), update).pixels[0, 0].tolist() == shown
    palette = Pillow.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    data = saved(palette, "PNG", transparency=b"\x80")
    assert decode(data, update).pixels[0, 0].tolist() == shown


def test_dropped_alpha_shows_what_lay_under_it(rules: Decode) -> None:
    update = rules.model_copy(update={"alpha": "drop"})
    assert np.array_equal(decode(saved(CLEAR, "PNG"), update).pixels, noise())
    assert np.array_equal(decode(npy(CLEAR), update).pixels, noise())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_profile_is_ignored_or_applied(kind: str, rules: Decode) -> None:
    data = saved(scene(), kind, icc_profile=profile())  # it swaps red and green
    stored = decode(data, rules).pixels
    shown = decode(data, rules.model_copy(update={"icc_profile": "srgb"})).pixels
    assert np.array_equal(stored, reference(data))
    assert np.abs(shown[..., [1, 0, 2]].astype(int) - stored).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_srgb_and_broken_profiles_change_nothing(kind: str, rules: Decode) -> None:
    plain = decode(saved(scene(), kind), rules).pixels
    for content in (SRGB, b"nonsense", profile()[:200], linear_grey()):
        data = saved(scene(), kind, icc_profile=content)
        for how in ("srgb", "ignore"):
            update = rules.model_copy(update={"icc_profile": how})
            assert np.array_equal(decode(data, update).pixels, plain)
    assert code_of(saved(scene(), kind, icc_profile=SRGB), rules, icc_profile="refuse") is None


def test_profiles_of_grey_and_of_print_are_applied(rules: Decode) -> None:
    update = rules.model_copy(update={"icc_profile": "srgb"})
    levels = np.array([[0, 13, 55, 128, 255]], np.uint8)
    light = decode(saved(levels, "PNG", icc_profile=linear_grey()), update)
    assert light.pixels[0, :, 0].tolist() == [0, 63, 128, 188, 255]  # IEC 61966-2-1
    cyan = saved(Pillow.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", icc_profile=black_alone())
    assert decode(cyan, rules).pixels[0, 0].tolist() == [0, 255, 255]
    assert decode(cyan, update).pixels[0, 0].tolist() == [255, 255, 255]


def test_a_profile_leaves_transparency_as_it_is(rules: Decode) -> None:
    update = rules.model_copy(update={"icc_profile": "srgb", "background": (1, 2, 3)})
    data = saved(Pillow.new("RGBA", (4, 4), (9, 9, 9, 0)), "PNG", icc_profile=profile())
    assert decode(data, update).pixels[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "P"])
def test_every_mode_becomes_rgb(mode: str, rules: Decode) -> None:
    image = Pillow.fromarray(noise()).convert(mode)
    data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
    assert decode(data, rules).pixels.shape == (40, 60, 3)
    assert decode(data, rules).mode == mode


def test_a_phone_picture_with_further_pictures_is_its_first(rules: Decode) -> None:
    second = Pillow.new("RGB", (60, 40))
    data = saved(scene(40, 60), "MPO", save_all=True, append_images=[second])
    image = decode(data, rules)
    assert (image.format, image.frames) == ("jpeg", 2)
    assert np.array_equal(image.pixels, decode(saved(scene(40, 60), "JPEG"), rules).pixels)


def test_too_many_pixels_are_refused_with_what_the_header_says(rules: Decode) -> None:
    with pytest.raises(Fault, match=r"1001 × 1000 pixels.*max_pixels = 1000000") as caught:
        decode(png(bytes(9), (1001, 1000)), rules)
    assert caught.value.code == "too_many_pixels"
    assert (caught.value.facts.width, caught.value.facts.mode) == (1001, "L")
    assert code_of(saved(noise(), "PNG"), rules, max_pixels=2399) == "too_many_pixels"
    assert code_of(saved(noise(), "PNG"), rules, max_pixels=2400) is None


@pytest.mark.parametrize("pillows_cap", [1_500, 1_000])  # of which it warns, and which it refuses
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_our_cap_decides_alone_and_pillow_says_nothing(
    kind: str, pillows_cap: int, rules: Decode, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(noise(), kind)  # 2,400 pixels
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", pillows_cap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, rules).pixels.shape == (40, 60, 3)


def test_a_machine_without_memory_is_no_fault_of_the_file(
    rules: Decode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(simplejpeg, "decode_jpeg", full)
    with pytest.raises(MemoryError):
        decode(saved(noise(), "JPEG"), rules)


@pytest.mark.parametrize("padding", [1, 8, 16])
def test_zeroes_before_the_end_are_a_cameras_padding_and_other_bytes_damage(
    padding: int, rules: Decode
) -> None:
    plain = saved(scene(), "JPEG")
    padded = plain[:-2] + bytes(padding) + plain[-2:]
    assert np.array_equal(decode(padded, rules).pixels, decode(plain, rules).pixels)
    assert code_of(plain[:-2] + b"\x55" * 40 + plain[-2:], rules) == "damaged"
    assert code_of(plain[:-2] + bytes(40) + plain[-2:], rules) == "damaged"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "npy", "GIF", "TIFF"])
def test_no_bytes_make_it_raise_anything_but_a_fault(kind: str, rules: Decode) -> None:
    chance = random.Random(0)
    clean = npy(noise()) if kind == "npy" else saved(noise(), kind)
    if kind == "JPEG":
        clean = with_segments(clean, segment(0xE1, exif(3)))
    for _ in range(400):
        data = bytearray(clean)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(min(len(data), chance.choice([64, len(data)])))] = (
                chance.randrange(256)
            )
        if chance.random() < 0.5:
            del data[chance.randrange(len(data)) :]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert decode(bytes(data), rules).pixels.dtype == np.uint8
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


def test_png_of_pixels_decodes_to_the_same_pixels(rules: Decode) -> None:
    assert np.array_equal(decode(encode_png(noise()), rules).pixels, noise())
    grey = decode(encode_png(noise()[..., 0]), rules)
    assert np.array_equal(grey.pixels[..., 1], noise()[..., 0])
