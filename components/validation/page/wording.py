"""Codes of faults, names of expectations and facts → the words that report.html has for them."""

from collections.abc import Callable
from typing import NamedTuple

from components.words import size_text

# Code of a fault → what is wrong with such a file.
FAULTS = {
    "animated": "Several frames: no single picture to train on.",
    "cmyk": "Print colours (CMYK), which ingest.decode.cmyk refuses.",
    "damaged": "Begins like an image, but the rest cannot be decoded.",
    "empty_file": "The file is empty.",
    "grey": "One channel, which ingest.decode.grey refuses.",
    "icc_profile": "A colour profile other than sRGB, which ingest.decode.icc_profile refuses.",
    "missing": "Listed, but the file is missing.",
    "not_a_file": "A folder, a pipe or a device instead of a file.",
    "not_an_image": "Not an image format: often a web page or zeroes under a wrong name.",
    "outside": "Its path leads out of the data folder.",
    "palette": "Colours from a palette, which ingest.decode.palette refuses.",
    "sixteen_bit": "16 bits a channel, which ingest.decode.sixteen_bit refuses.",
    "symlink": "A link; links are never followed.",
    "too_many_bytes": "Larger than ingest.decode.max_bytes; not read.",
    "too_many_parts": "Made of more parts than a real image has.",
    "too_many_pixels": "More pixels than ingest.decode.max_pixels; not decoded.",
    "transparent": "Partly transparent, which ingest.decode.alpha refuses.",
    "truncated": "The end is missing, as after an interrupted upload.",
    "unreadable": "The system does not allow it to be read.",
    "unreadable_name": "Its name is not UTF-8; rename it.",
    "unsupported_format": "An image, in a format that Fovea does not read.",
}

# Expectation on single pictures → heading of its gallery, and what is measured of a picture.
GALLERIES = {
    "dark": ("Dark", "brightest 1 %: {:.3f}"),
    "bright": ("Overexposed", "darkest 1 %: {:.3f}"),
    "blurry": ("Blurry", "sharpness {:.3f}"),
    "low_information": ("Low information", "{:.2f} bits a pixel"),
    "uniform": ("Nearly one colour", "contrast {:.4f}"),
    "odd_aspect": ("Odd aspect", "width / height {:.3g}"),
    "odd_size": ("Odd size", "{:.3g} × the median side"),
    "border": ("Frame of one colour", "{:.1%} of the area"),
    "size": ("Size out of bounds", "{:,.0f} px"),
    "format": ("Format", "{}"),
}


# List of counts in the report → heading of its table.
TABLES = {"formats": "Formats", "modes": "Modes", "bit_depths": "Bits a channel"}


class FactWords(NamedTuple):
    """Title of a fact's histogram, its unit, and how its values are written."""

    title: str
    unit: str
    write: Callable[[float], str] = "{:.3g}".format


FACTS = {
    "brightness": FactWords("Brightness", "mean luma"),
    "brightness_p1": FactWords("Darkest 1 %", "luma up to"),
    "brightness_p99": FactWords("Brightest 1 %", "luma from"),
    "contrast": FactWords("Contrast", "standard deviation of the luma"),
    "saturation": FactWords("Saturation", "mean of HSV"),
    "entropy": FactWords("Entropy", "bits a pixel"),
    "sharpness": FactWords("Sharpness", "strongest edges / range of the luma"),
    "border_share": FactWords("Border", "share of the area"),
    "aspect": FactWords("Aspect", "width / height"),
    "width": FactWords("Width", "pixels", "{:,.0f}".format),
    "height": FactWords("Height", "pixels", "{:,.0f}".format),
    "bytes": FactWords("File size", "bytes", size_text),
}

# What an expectation leads to → the word for it, and what happened to the files.
OUTCOMES = {
    "stop": ("stops the run", "the run stops"),
    "quarantine": ("quarantines", "quarantined"),
    "warn": ("warns", "kept"),
    "met": ("met", ""),
}
