"""The cards of `fovea init`: what tests run with, whatever params.yaml says by now."""

from pathlib import Path

CARDS = Path(__file__).parents[1] / "pipelines/commands/cards"
DIGITS = CARDS / "digits.yaml"
PHOTOS = CARDS / "photos.yaml"
