"""A network that Grad-CAM cannot explain."""

import keras

from components.model.classifier import Classifier, add_softmax


def vectors_only(names, backbone="backbone"):
    """A classifier of images with 8 pixels; its backbone gives a vector, and has no maps."""
    images = keras.Input((8, 8, 3), dtype="uint8")
    floats = keras.layers.Rescaling(1 / 255)(images)
    features = keras.layers.Dense(4)(keras.layers.Flatten()(floats))
    encoder = keras.Model(images, features, name=backbone)
    first = keras.Input((8, 8, 3), dtype="uint8", name="images")
    hidden = keras.layers.Dropout(0.1, name="dropout")(encoder(first))
    logits = keras.layers.Dense(len(names), name="logits")(hidden)
    return Classifier(keras.Model(first, add_softmax(logits)), tuple(names), 8, "squash", "none")
