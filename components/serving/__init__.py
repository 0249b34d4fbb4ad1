"""Predictions on the bytes of images, by a file or a version: `load(address).predict(images)`."""

from components.serving.model import Model, Prediction, load

__all__ = ["Model", "Prediction", "load"]
