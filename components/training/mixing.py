"""Images of a batch and their classes → mixed images and the shares of their classes.

MixUp (Zhang et al., 2018) blends two images: lambda * image + (1 - lambda) * other. CutMix (Yun et
al., 2019) replaces a rectangle of the image by the same rectangle of the other image; its area is
about 1 - lambda. In both, lambda is drawn from Beta(alpha, alpha), and the label has the class of
the image with the share lambda, and the class of the other image with the rest.

If both are on, one of them is drawn for each batch. Lambda is drawn for each image, not for each
batch: a batch then has weakly and strongly mixed images together, so its gradient varies less.

The other image is the next one of the batch; for the last image it is the first one. The order of a
batch is random already, so this is a random pair. It also keeps mixing cheap where several
machines share a batch, because each machine needs only one image of another machine's share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.params.train import Train
from components.training.passes import Floats, Images


@dataclass(frozen=True)
class Mixing:
    """How the images of a batch are mixed.

    mixup, cutmix: alpha of both; 0 switches it off, but not both are 0. batches: the number of
    batches after which images are no longer mixed. classes: the number of classes, C.
    """

    mixup: float
    cutmix: float
    batches: int
    classes: int

    def mix(
        self,
        images: Images,
        others: Images,
        positions: NDArray[np.int64],
        size: int,
        generator: np.random.Generator,
    ) -> tuple[Images, Floats]:
        """Return the mixed images, uint8 [b, H, W, 3], and the shares of `images`, float64 [b].

        images, others: uint8 [b, H, W, 3]. positions: their positions in the batch, int64 [b].
        size: the number of images of the whole batch. generator: the source of the random numbers.
        The numbers of all `size` images are drawn, so that a part of a batch is mixed as the whole.
        """
        cut = generator.random() < self._chance_to_cut
        alpha = self.cutmix if cut else self.mixup
        shares = generator.beta(alpha, alpha, size)[positions]
        centres = generator.random((size, 2))[positions]
        if cut:
            return _paste(images, others, shares, centres)
        return _blend(images, others, shares), shares

    @property
    def _chance_to_cut(self) -> float:
        return 0.5 if self.mixup and self.cutmix else float(self.cutmix > 0)

    def labels(
        self,
        labels: NDArray[np.int64],
        others: NDArray[np.int64],
        shares: Floats,
        class_weights: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the labels of mixed images, float32 [b, C], and their weights, float32 [b].

        The weight of a class is that of all images of the class, so it also belongs to the part of
        an image that is of this class: weight * label is lambda * weight of the class for the one
        class, and (1 - lambda) * weight for the other one. Each label has the sum 1.
        labels, others: the classes of both images, int64 [b]. shares: lambda, float64 [b].
        class_weights: float32 [C].
        """
        rows = np.arange(len(labels))
        both = np.zeros((len(labels), self.classes))
        both[rows, labels] = shares * class_weights[labels]
        both[rows, others] += (1 - shares) * class_weights[others]
        weights = both.sum(axis=1)
        return (both / weights[:, None]).astype(np.float32), weights.astype(np.float32)


def build_mixing(train: Train, classes: int, steps: int) -> Mixing | None:
    """Return how the section `train` of params.yaml mixes images; None if it does not.

    classes: the number of classes. steps: the number of batches of an epoch.
    """
    batches = train.mixed_epochs * steps
    if not batches or not (train.mixup or train.cutmix):
        return None
    return Mixing(train.mixup, train.cutmix, batches, classes)


def _blend(images: Images, others: Images, shares: Floats) -> Images:
    """Return share * image + (1 - share) * other, rounded to whole levels."""
    import cv2

    mixed = np.empty_like(images)
    for image, other, share, target in zip(images, others, shares.tolist(), mixed, strict=True):
        cv2.addWeighted(image, share, other, 1 - share, 0.0, target)
    return mixed


def _paste(
    images: Images, others: Images, shares: Floats, centres: Floats
) -> tuple[Images, Floats]:
    """Return the images with a rectangle of the other image, and the shares that are left of them.

    The centre of the rectangle can be anywhere, so a part of it can be outside of the image. The
    shares are those of the pixels that are replaced (Yun et al., 2019, appendix A).
    """
    sides = np.array(images.shape[1:3])
    half = np.sqrt(1 - shares)[:, None] * sides / 2
    low = np.clip(np.rint(centres * sides - half), 0, sides).astype(int)
    high = np.clip(np.rint(centres * sides + half), 0, sides).astype(int)
    mixed = images.copy()
    for target, other, (top, left), (bottom, right) in zip(mixed, others, low, high, strict=True):
        target[top:bottom, left:right] = other[top:bottom, left:right]
    return mixed, 1 - (high - low).prod(axis=1) / sides.prod()
