"""Corruptions do what the paper says, the same to the same image; accuracy on them is counted."""

import hashlib
import zlib
from typing import get_args

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from components.evaluation import robustness as room
from components.evaluation.corruptions import KINDS, SEVERITIES, corrupt
from components.evaluation.interval import counted_interval
from components.evaluation.robustness import chosen_images, robustness, robustness_table
from components.params.evaluate import Corruption, Corruptions

ID = hashlib.sha256(b"an image").hexdigest()


def photograph(side: int = 224):
    """A smooth picture with edges and colours."""
    down, right = np.mgrid[:side, :side] / side
    picture = np.stack([down, right, (down + right) / 2], axis=2)
    box = slice(int(0.23 * side), int(0.54 * side))
    picture[box, box] = [0.9, 0.2, 0.1]
    return np.rint(255 * (0.2 + 0.6 * picture)).astype(np.uint8)


def change(image, kind: str, severity: int):
    return np.abs(corrupt(image, kind, severity, ID).astype(float) - image).mean()


def test_every_kind_of_params_is_known():
    assert set(KINDS) == set(get_args(Corruption))


@pytest.mark.parametrize("side", [224, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_highest_severity_changes_most_and_the_picture_keeps_its_form(kind, side):
    image = photograph(side)
    before = image.copy()
    changes = [change(image, kind, severity) for severity in SEVERITIES]
    # Blurs are in proportion to the side, so the weakest does nothing to 16 pixels.
    assert max(changes[:2]) < changes[2]
    assert changes[0] > 0 or (side == 16 and "blur" in kind)
    found = corrupt(image, kind, 5, ID)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_image_is_corrupted_in_the_same_way_and_another_in_another(kind):
    image, other = photograph(64), hashlib.sha256(b"another").hexdigest()
    assert np.array_equal(corrupt(image, kind, 3, ID), corrupt(image, kind, 3, ID))
    by_chance = not np.array_equal(corrupt(image, kind, 3, ID), corrupt(image, kind, 3, other))
    assert by_chance == (kind in ("gaussian_noise", "shot_noise", "motion_blur"))


# Severity → the numbers of Hendrycks and Dietterich (2019), make_imagenet_c.py.
NUMBERS = {
    1: {"noise": 0.08, "photons": 60, "disc": 3, "trace": (10, 3), "bright": 0.1, "contrast": 0.4},
    3: {"noise": 0.18, "photons": 12, "disc": 6, "trace": (15, 8), "bright": 0.3, "contrast": 0.2},
    5: {
        "noise": 0.38,
        "photons": 3,
        "disc": 10,
        "trace": (20, 15),
        "bright": 0.5,
        "contrast": 0.05,
    },
}


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_is_that_of_the_paper(severity):
    grey, generator = np.full((200, 200, 3), 128, np.uint8), np.random.default_rng(1)
    numbers, value = NUMBERS[severity], 128 / 255
    expected = {
        "gaussian_noise": value + numbers["noise"] * generator.standard_normal(grey.shape),
        "shot_noise": generator.poisson(value * numbers["photons"], grey.shape)
        / numbers["photons"],
    }
    for kind, noisy in expected.items():
        found, drawn = corrupt(grey, kind, severity, ID) / 255, np.clip(noisy, 0, 1)
        assert found.mean() == pytest.approx(drawn.mean(), rel=0.01)
        assert found.std() == pytest.approx(drawn.std(), rel=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_and_contrast_are_those_of_the_paper(severity):
    """By other formulas than the code's."""
    image, numbers = photograph(), NUMBERS[severity]
    bright = corrupt(image, "brightness", severity, ID)
    expected = np.minimum(image.max(axis=2) / 255 + numbers["bright"], 1)
    assert bright.max(axis=2) / 255 == pytest.approx(expected, abs=0.005)
    flat = corrupt(image, "contrast", severity, ID)
    means = image.mean(axis=(0, 1))
    assert abs(flat - (means + numbers["contrast"] * (image - means))).max() <= 0.51


@pytest.mark.parametrize(("severity", "quality", "side"), [(1, 25, 134), (3, 15, 89), (5, 7, 56)])
def test_jpeg_and_pixelate_are_those_of_pillow(severity, quality, side):
    """The authors use Pillow; OpenCV's encoder may round otherwise."""
    import io

    from PIL import Image

    image = photograph()
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file), float)
    assert np.abs(corrupt(image, "jpeg_compression", severity, ID) - expected).mean() < 0.5
    small = Image.fromarray(image).resize((side, side), Image.Resampling.BOX)
    expected = np.asarray(small.resize((224, 224), Image.Resampling.BOX), float)
    assert np.abs(corrupt(image, "pixelate", severity, ID) - expected).mean() < 0.5
    noise = np.random.default_rng(4).integers(0, 256, image.shape, np.uint8)
    found = corrupt(noise, "pixelate", severity, ID)
    assert found.std() < 0.8 * noise.std()  # a large pixel is a mean
    for axis in (0, 1):
        edges = (np.diff(found.astype(int), axis=axis) != 0).any(axis=(1 - axis, 2))
        assert edges.sum() + 1 == side


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_motion_blur_is_the_weighted_mean_of_shifted_images(severity):
    """As the authors' code and ImageMagick do it, with the angle that the image has here."""
    image, (radius, sigma) = photograph(), NUMBERS[severity]["trace"]
    seed = [int(ID, 16), zlib.crc32(b"motion_blur")]
    angle = np.deg2rad(np.random.default_rng(seed).uniform(-45, 45))
    padded = np.pad(image.astype(float), ((50, 50), (50, 50), (0, 0)), mode="edge")
    blurred, whole = np.zeros(image.shape), 0.0
    for step in range(2 * radius + 1):
        down, right = (int(np.ceil(step * part - 0.5)) for part in (np.sin(angle), np.cos(angle)))
        weight = np.exp(-(step**2) / (2 * sigma**2))
        blurred += weight * padded[50 + down : 274 + down, 50 + right : 274 + right]
        whole += weight
    assert abs(corrupt(image, "motion_blur", severity, ID) - blurred / whole).max() <= 0.51


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_defocus_blur_is_the_mean_of_a_disc(severity):
    image, radius = photograph(), NUMBERS[severity]["disc"]
    near = np.hypot(*np.mgrid[-12:13, -12:13]) <= radius
    disc = cv2.GaussianBlur(near.astype(np.float64), (5, 5), 0.5)
    expected = cv2.filter2D(image.astype(np.float64), -1, disc / disc.sum())
    assert np.abs(corrupt(image, "defocus_blur", severity, ID) - expected).mean() < 0.4


@pytest.mark.parametrize("side", [224, 448])
@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur"])
def test_a_blur_spreads_a_point_and_keeps_its_light(kind, side):
    point = np.zeros((side, side, 3), np.uint8)
    point[108:117, 108:117] = 255
    blurred = corrupt(point, kind, 3, ID).astype(float)
    assert blurred.sum() == pytest.approx(point.sum(), rel=0.03)
    assert (blurred[..., 0] > 0).sum() > (point[..., 0] > 0).sum()
    if kind == "defocus_blur":  # a disc with the radius 6, or with 12 in an image twice as large
        rows = np.flatnonzero(blurred[:, :, 0].any(axis=1))
        assert rows[-1] - rows[0] + 1 == pytest.approx(9 + 2 * 6 * side / 224, abs=1)


@pytest.fixture
def rows(digits) -> pd.DataFrame:
    ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(300)]
    return pd.DataFrame({"image_id": ids, "label_index": digits.labels})


def bright_or_dark(images):
    """Predict class 0 for a dark image and class 1 for a bright one."""
    bright = images.mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - bright, bright], axis=1)


def test_the_accuracy_is_that_on_the_corrupted_images(rows, digits, quick, monkeypatch):
    monkeypatch.setattr(room, "AT_ONCE", 32)
    generator = np.random.default_rng(2)
    grey = generator.integers(20, 190, (300, 1, 1, 1))
    images = np.stack([cv2.resize(image, (24, 24)) for image in digits.images]) // 4
    images = (images + grey).astype(np.uint8)
    wrong = generator.random(300) < 0.2  # so that it matters which images are taken
    labels = ((images.mean(axis=(1, 2, 3)) > 127) ^ wrong).astype(int)
    rows = rows.assign(label_index=labels)
    kinds = ("brightness", "contrast")
    asked = quick.model_copy(update={"corruptions": Corruptions(kinds=kinds, images=100)})
    found = robustness(images, rows, bright_or_dark(images), bright_or_dark, asked)
    chosen = rows["image_id"].sort_values().index[:100]
    clean = int((bright_or_dark(images).argmax(axis=1) == labels)[chosen].sum())
    assert found.clean == counted_interval(clean, 100, 0.95)
    assert found.images == 100
    assert [(row.kind, row.severity) for row in found.corrupted] == [
        (kind, severity) for kind in kinds for severity in SEVERITIES
    ]
    for row in found.corrupted:
        copies = [corrupt(images[n], row.kind, row.severity, rows["image_id"][n]) for n in chosen]
        predicted = bright_or_dark(np.stack(copies)).argmax(axis=1)
        hits = accuracy_score(labels[chosen], predicted, normalize=False)
        assert row.accuracy == counted_interval(int(hits), 100, 0.95)
    accuracies = [row.accuracy.value for row in found.corrupted]
    assert found.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert len(set(accuracies)) > 1
    table = robustness_table(found)
    assert table.iloc[0][["kind", "severity", "images"]].tolist() == ["none", 0, 100]
    assert table["accuracy"].iloc[0] == pytest.approx(found.clean.value)
    assert table["accuracy"].iloc[1:].tolist() == pytest.approx(accuracies, abs=1e-6)


def test_no_kinds_switch_it_off(rows, digits, quick):
    none = quick.model_copy(update={"corruptions": Corruptions(kinds=(), images=100)})
    assert robustness(digits.images, rows, None, bright_or_dark, none) is None
    assert robustness_table(None).empty


def test_the_chosen_images_stay_the_same_if_others_arrive(rows):
    few = set(rows["image_id"][chosen_images(rows["image_id"], 50)])
    more = rows["image_id"].iloc[:290]
    assert len(few & set(more.iloc[chosen_images(more, 50)])) >= 40
    assert len(chosen_images(rows["image_id"], 999)) == 300
