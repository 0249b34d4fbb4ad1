"""Views of images: what decides them, and what does not."""

from pathlib import Path

import numpy as np
import pytest

from components.params.augmentation import Augmentation
from components.training import augmentation, views
from components.training.augmentation import build_augmentation
from components.training.views import Views, build_views
from components.training_set.examples import Examples, choose_rows

EVERYTHING = Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.3))
POLICY = build_augmentation(EVERYTHING)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (70, 8, 8, 3), np.uint8)


def view(images: np.ndarray, number: int = 1, seed: int = 7, policy=POLICY) -> np.ndarray:
    """View `number` of each image, in parts of 64."""
    rows = np.arange(len(images))
    parts = [(number, rows[start : start + 64]) for start in range(0, len(rows), 64)]
    examples = Examples(images, np.zeros(len(images), np.int64))
    with Views(policy, seed, number).batches(examples, parts) as batches:
        return np.concatenate(list(batches))


def test_a_view_depends_on_the_pixels_the_view_the_seed_and_the_changes(images) -> None:
    first = view(images)
    assert (first.shape, first.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(view(images), first)
    brighter = build_augmentation(EVERYTHING.model_copy(update={"brightness": 0.9}))
    for other in (images, view(images, 2), view(images, seed=8), view(images, policy=brighter)):
        assert np.mean(np.any(other != first, axis=(1, 2, 3))) > 0.95


def test_the_views_of_an_image_stay_when_others_are_added_or_moved(images) -> None:
    """Images of another order lie in other parts, and beside other images."""
    first = view(images)
    order = np.random.default_rng(2).permutation(70)
    np.testing.assert_array_equal(view(images[order]), first[order])
    np.testing.assert_array_equal(view(images[5:6]), first[5:6])
    np.testing.assert_array_equal(view(images[[5, 5]]), first[[5, 5]])


def test_views_are_the_same_for_any_number_of_workers(
    images, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = view(images)
    monkeypatch.setattr(views, "BATCHES", 1)
    monkeypatch.setenv("FOVEA_WORKERS", "2")
    np.testing.assert_array_equal(view(images), first)


def test_views_of_chosen_images_are_those_of_their_copies(
    images, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = Examples(images, np.zeros(len(images), np.int64))
    order = np.random.default_rng(2).permutation(2 * len(images))
    chosen = choose_rows([examples, examples], order)
    monkeypatch.setattr(views, "BATCHES", 1)
    monkeypatch.setenv("FOVEA_WORKERS", "1")
    with Views(POLICY, 7, 1).batches(chosen, [(1, np.arange(64))]) as batches:
        np.testing.assert_array_equal(next(batches), view(images)[order[:64] % 70])


def test_changes_that_change_nothing_make_no_views_and_a_warning(
    params, caplog: pytest.LogCaptureFixture
) -> None:
    asked = params.train.head.model_copy(update={"views": 3})
    train = params.train.model_copy(update={"head": asked})
    assert build_views(params.train) is None
    assert build_views(train) == Views(build_augmentation(train.augmentation), train.seed, 3)
    assert caplog.messages == []
    nothing = Augmentation(**dict.fromkeys(Augmentation.model_fields, 0.0))
    assert build_views(train.model_copy(update={"augmentation": nothing})) is None
    assert caplog.messages == [
        "there are no views, because train.augmentation changes nothing. "
        "Received: train.head.views: 3"
    ]


def test_the_key_has_the_changes_the_seed_the_number_and_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Views(POLICY, 7, 2).key(1)
    assert Views(build_augmentation(EVERYTHING), 7, 4).key(1) == kept
    turned = build_augmentation(EVERYTHING.model_copy(update={"rotate": 90.0}))
    others = {Views(POLICY, 7, 2).key(2), Views(POLICY, 8, 2).key(1), Views(turned, 7, 2).key(1)}
    edited = tmp_path / "augmentation.py"
    edited.write_text(Path(augmentation.__file__).read_text() + "# edited")
    monkeypatch.setattr(augmentation, "__file__", str(edited))
    assert len({kept, *others, Views(POLICY, 7, 2).key(1)}) == 5
