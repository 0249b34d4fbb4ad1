"""First bytes of a file → the name of its image format, or a description if it is no image."""

# The first bytes of a file → the name of the format. Formats that are not in decoder.HEADERS are
# refused. The refused formats are also listed here, so that the Fault can name the format.
SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"\x93NUMPY", "npy"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"8BPS", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"\xff\x0a", "jpeg_xl"),
    (b"\0\0\0\x0cJXL ", "jpeg_xl"),
    (b"v/1\x01", "exr"),
    (b"<svg", "svg"),
    (b"%PDF", "pdf"),
)
# The brand, which is in bytes 8 to 11 of a file of the MP4 family → the name of the format.
BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heic"}

# The first bytes of a file, in lower case → a description of the file. Files of these kinds are
# often stored with the file extension of an image by mistake.
MISTAKEN = (
    (b"version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the file itself"),
    (b"<!doctype html", "a web page (HTML), perhaps the error page of a download"),
    (b"<html", "a web page (HTML), perhaps the error page of a download"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
)


def name_format(data: bytes) -> str | None:
    """Return the name of the image format of these bytes. None if the bytes are not an image.

    A BMP begins with the letters `BM`, but a text may also begin with `BM`. If the first 26 bytes
    are all printable, the file counts as a text. The reason is that some of the first 26 bytes of a
    BMP are 0, and the byte 0 is not printable.

    >>> name_format(b"GIF89a"), name_format(b"BM is a text that starts so")
    ('gif', None)
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12])
    if data.startswith(b"<?xml") and b"<svg" in data[:1000]:
        return "svg"
    if data.startswith(b"BM") and data[:26].isascii() and data[:26].decode().isprintable():
        return None
    return next((name for start, name in SIGNATURES if data.startswith(start)), None)


def describe(data: bytes) -> str:
    """Return a description of bytes that are not an image, for the text of a Fault."""
    start = data[:64].lstrip().lower()
    mistake = next((what for first, what in MISTAKEN if start.startswith(first)), None)
    if mistake is not None:
        return f"it is {mistake}"
    if data[4:8] == b"ftyp":
        return f"it is a video or another file of the MP4 family ({data[8:12]!r})"
    if data.count(0) == len(data):
        return "every byte is zero, perhaps because a copy or a download failed"
    return f"no image format starts with {data[:16]!r}"
