"""Sample images are real, complete, and readable by the one decoder."""

from pathlib import PurePosixPath

from components.images.decoder import decode
from components.params.reader import Params
from pipelines.commands.sample import digits


def test_digits_are_1797_grey_png_files_in_ten_folders(params: Params) -> None:
    files = dict(digits())
    assert len(files) == 1797
    assert {str(PurePosixPath(name).parent) for name in files} == set("0123456789")
    image = decode(files["0/0000.png"], params.ingest.decode)
    assert (image.format, image.mode, image.bit_depth, image.width) == ("png", "L", 8, 8)
    assert image.pixels.max() > 200
    assert files == dict(digits())
