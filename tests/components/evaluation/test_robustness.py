"""Corruptions do what the paper says, the same to the same image; accuracy on them is counted."""

import hashlib
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


def test_noise_brightness_and_contrast_are_those_of_the_paper():
    """Hendrycks and Dietterich (2019), severity 3, by other formulas than the code's."""
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = corrupt(grey, "gaussian_noise", 3, ID) / 255
    assert noisy.std() == pytest.approx(0.18, rel=0.03)
    photons = corrupt(grey, "shot_noise", 3, ID) / 255
    assert photons.mean() == pytest.approx(128 / 255, rel=0.02)
    assert photons.std() == pytest.approx((128 / 255 / 12) ** 0.5, rel=0.05)
    image = photograph()
    bright = corrupt(image, "brightness", 3, ID)
    expected = np.minimum(image.max(axis=2) / 255 + 0.3, 1)
    assert bright.max(axis=2) / 255 == pytest.approx(expected, abs=0.005)
    flat = corrupt(image, "contrast", 3, ID)
    assert flat.std(axis=(0, 1)) == pytest.approx(0.2 * image.std(axis=(0, 1)), rel=0.02)
    assert flat.mean() == pytest.approx(image.mean(), abs=0.5)


def test_jpeg_and_pixelate_are_those_of_pillow():
    """The authors use Pillow; OpenCV's encoder may round otherwise."""
    import io

    from PIL import Image

    image = photograph()
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=15)
        expected = np.asarray(Image.open(file), float)
    assert np.abs(corrupt(image, "jpeg_compression", 3, ID) - expected).mean() < 2
    small = Image.fromarray(image).resize((89, 89), Image.Resampling.BOX)
    expected = np.asarray(small.resize((224, 224), Image.Resampling.BOX), float)
    assert np.abs(corrupt(image, "pixelate", 3, ID) - expected).mean() < 2


@pytest.mark.parametrize("kind", ["defocus_blur", "motion_blur"])
def test_a_blur_spreads_a_point_and_keeps_its_light(kind):
    point = np.zeros((224, 224, 3), np.uint8)
    point[108:117, 108:117] = 255
    blurred = corrupt(point, kind, 3, ID).astype(float)
    assert blurred.sum() == pytest.approx(point.sum(), rel=0.02)
    assert (blurred[..., 0] > 0).sum() > (point[..., 0] > 0).sum()
    if kind == "defocus_blur":  # a disc with the radius 6
        rows = np.flatnonzero(blurred[:, :, 0].any(axis=1))
        assert rows[-1] - rows[0] + 1 == pytest.approx(9 + 2 * 6, abs=1)


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
    images = np.stack([cv2.resize(image, (24, 24)) for image in digits.images]) // 2
    labels = (images.mean(axis=(1, 2, 3)) > 110).astype(int)
    rows = rows.assign(label_index=labels)
    kinds = ("brightness", "contrast")
    asked = quick.model_copy(update={"corruptions": Corruptions(kinds=kinds, images=100)})
    found = robustness(images, rows, bright_or_dark(images), bright_or_dark, asked)
    chosen = rows["image_id"].sort_values().index[:100]
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
