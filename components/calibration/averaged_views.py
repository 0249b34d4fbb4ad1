"""A trained classifier → the same classifier, with logits that are the mean over views of an image.

The views are made inside of the saved model, from the pixels that it gets. So they are used
wherever the file is loaded. All layers are Keras' own.

- `mirrored`: the image and its mirror image, left and right exchanged.
- `five`: the four corners and the centre, as Krizhevsky et al. (2012) did: they cut 224 of 256
  pixels, which is 7/8 of the side. A network has a fixed size of its input, and the pixels outside
  of the prepared image are gone. So each crop of 7/8 of the side is enlarged to the size of the
  image (bilinear).

The views of a batch are one larger batch, which passes the network once. With five views, a
prediction takes about five times as long.
"""

from dataclasses import dataclass, replace
from typing import Any

from components.model.classifier import Classifier, add_softmax
from components.model.head import call_in_turn, head_layers
from components.params.model import Views

VIEWS: dict[Views, int] = {"plain": 1, "mirrored": 2, "five": 5}


@dataclass(frozen=True)
class Place:
    """The square of an image that a view shows, in pixels, and whether the view is mirrored."""

    top: int
    left: int
    side: int
    mirrored: bool = False


def places_of_views(views: Views, size: int) -> dict[str, Place]:
    """Return the name of each view → its place, in the order in which the layer `views` has them.

    size: the side of the image, in pixels. A view has the size of the image, too.
    """
    if views != "five":
        plain = {"plain": Place(0, 0, size), "mirror_image": Place(0, 0, size, mirrored=True)}
        return dict(list(plain.items())[: VIEWS[views]])
    side = size * 7 // 8
    gap = size - side
    corners = {"top_left": (0, 0), "top_right": (0, gap)}
    corners |= {"bottom_left": (gap, 0), "bottom_right": (gap, gap), "centre": (gap // 2, gap // 2)}
    return {name: Place(top, left, side) for name, (top, left) in corners.items()}


def add_views(classifier: Classifier, views: Views) -> Classifier:
    """Return the classifier with a network that averages the logits over the views of an image.

    classifier: a trained classifier; all of its layers up to the logits are shared. A logit
    adjustment and a temperature are left out, because they must be fitted on the averaged logits.
    views: the value of `model.views`. With `plain`, a classifier without views is returned as it
    is.
    """
    if views == "plain":
        return classifier
    import keras
    from keras import ops

    network, size = classifier.model, classifier.size
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    made = _mirrored(images) if views == "mirrored" else _five(images, size)
    batch = keras.layers.Concatenate(axis=0, dtype="uint8", name="views")(made)
    logits = call_in_turn([classifier.backbone, *head_layers(network)], batch)
    by_view = ops.reshape(logits, (VIEWS[views], -1, len(classifier.class_names)))
    mean = ops.mean(by_view, axis=0)
    averaged = keras.Model(images, add_softmax(mean), name=network.name)
    return replace(classifier, model=averaged)


def views_of(classifier: Classifier) -> Views:
    """Return the views over which a classifier averages its logits."""
    names = {layer.name for layer in classifier.model.layers}
    if "views" not in names:
        return "plain"
    return "five" if "centre_crop" in names else "mirrored"


def _mirrored(images: Any) -> list[Any]:
    return [images, images[:, :, ::-1]]


def _five(images: Any, size: int) -> list[Any]:
    """Return the corners and the centre, each enlarged to the size of the image."""
    from keras import layers

    made = []
    for name, place in places_of_views("five", size).items():
        below, right = size - place.top - place.side, size - place.left - place.side
        cut = ((place.top, below), (place.left, right))
        crop = layers.Cropping2D(cut, dtype="uint8", name=f"{name}_crop")(images)
        made.append(layers.Resizing(size, size, dtype="uint8", name=name)(crop))
    return made
