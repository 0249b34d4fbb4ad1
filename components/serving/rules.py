"""A classifier and where it comes from → the rules by which its images are decoded.

A model file has the rules by which its training images were decoded. A file that an older Fovea
wrote has only the rule for 16 bits. Then the rules are those of the params.yaml that the training
logged to MLflow, if they can be trusted, and otherwise STANDARD.
"""

import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.errors import UserError
from components.model.classifier import Classifier
from components.params import yaml_text
from components.params.ingest import Decode
from components.registry.versions import Version

log = logging.getLogger(__name__)

# The rules in every params.yaml that `fovea init` writes. A test compares them. The two limits hold
# for every model that is served: they protect this machine, and change no pixel.
STANDARD = Decode(
    max_bytes=50_000_000,
    max_pixels=50_000_000,
    sixteen_bit="high_byte",
    cmyk="convert",
    grey="repeat",
    palette="expand",
    alpha="blend",
    background=(255, 255, 255),
    icc_profile="ignore",
)


def decode_rules(classifier: Classifier, version: Version | None) -> Decode:
    """Return the rules by which the images for a classifier are decoded.

    version: the version in MLflow that the classifier was read from; None if it was a plain file.
    """
    if classifier.decode is None and version is not None:
        return classifier.decode_rules(_logged_rules(version))
    return classifier.decode_rules(STANDARD)


def _logged_rules(version: Version) -> Decode:
    """Return the rules in the params.yaml that the training of a version logged, or STANDARD.

    The file in MLflow could have been changed. So it counts only if its values have the sha256 that
    the version has on record, in its tag `params`.
    """
    text = version.run.read_text("params.yaml")
    try:
        tree = yaml_text.parse(text or "", Path("params.yaml"))
        rules: dict[str, Any] = tree["ingest"]["decode"]
        if yaml_text.digest(tree) == version.tags.get("params"):
            return STANDARD.with_pixel_rules(rules)
    except (UserError, ValidationError, TypeError, KeyError, AttributeError):
        pass
    log.warning(
        f"version {version.number} of {version.name} does not say how its training images were "
        "decoded; the rules are those that `fovea init` writes into params.yaml"
    )
    return STANDARD
