"""Codes of faults, names of expectations, names of facts → the texts for them in report.html."""

from collections.abc import Callable
from typing import NamedTuple

from components.words import size_text

# Code of a fault → what is wrong with a file that has this fault.
FAULTS = {
    "animated": "Several frames, such as an animation. Training needs a single picture.",
    "cmyk": "Print colours (CMYK), which ingest.decode.cmyk refuses.",
    "damaged": "The file begins like an image, but the rest cannot be decoded.",
    "empty_file": "The file is empty.",
    "grey": "One channel, which ingest.decode.grey refuses.",
    "icc_profile": "A colour profile other than sRGB, which ingest.decode.icc_profile refuses.",
    "missing": "The file is listed, but it is missing.",
    "not_a_file": "A folder, a pipe or a device instead of a file.",
    "not_an_image": "Not an image; often a web page with the name of an image, or only zeroes.",
    "outside": "The path leads to a place outside of the data folder.",
    "palette": "Colours from a palette, which ingest.decode.palette refuses.",
    "sixteen_bit": "16 bits a channel, which ingest.decode.sixteen_bit refuses.",
    "symlink": "A symbolic link. Fovea only follows links into DVC's cache.",
    "too_many_bytes": "More bytes than ingest.decode.max_bytes, so the file was not read.",
    "too_many_parts": "The file has more parts (blocks, chunks) than a real image.",
    "too_many_pixels": "More pixels than ingest.decode.max_pixels, so it was not decoded.",
    "transparent": "Partly transparent, which ingest.decode.alpha refuses.",
    "truncated": "The end of the file is missing, for example after an interrupted upload.",
    "unreadable": "The operating system does not allow Fovea to read the file.",
    "unreadable_name": "The name of the file is not UTF-8; rename the file.",
    "unsupported_format": "A format that Fovea does not read; the log of ingest says what to do.",
}

# Name of an expectation on single pictures → the title of its gallery (the pictures that fail the
# expectation), and the format string that turns a measured value into text.
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


# Key of a dict of counts in report.json → title of the table with these counts.
TABLES = {"formats": "Formats", "modes": "Modes", "bit_depths": "Bits a channel"}


class FactWords(NamedTuple):
    """The texts of a histogram.

    title: the title of the histogram. unit: the unit or the meaning of the values. write: a
    function that turns a value into text.
    """

    title: str
    unit: str
    write: Callable[[float], str] = "{:.3g}".format


# Name of a fact → the texts of its histogram. A fact is a number that describes an image or a file.
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

# Outcome of an expectation → two texts: what the expectation does, and what happens to the files
# that fail the expectation.
OUTCOMES = {
    "stop": ("stops the run", "the run stops"),
    "quarantine": ("quarantines", "quarantined"),
    "warn": ("warns", "kept"),
    "met": ("met", ""),
}
