"""First bytes of a file → the name of its image format, or a description if it is no image."""

# The first bytes of a file → the name of the format. Formats that are not in decoder.HEADERS are
# refused. The refused formats are also listed here, so that the Fault can name the format.
SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"\x93NUMPY", "npy"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"IIRO", "camera_raw"),
    (b"IIRS", "camera_raw"),
    (b"IIU\0", "camera_raw"),
    (b"FUJIFILMCCD-RAW", "camera_raw"),
    (b"8BPS", "psd"),
    (b"\0\0\1\0", "ico"),
    (b"\0\0\0\x0cjP  ", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"\xff\x0a", "jpeg_xl"),
    (b"\0\0\0\x0cJXL ", "jpeg_xl"),
    (b"v/1\x01", "exr"),
    *((b"P%d%c" % (number, blank), "netpbm") for number in range(1, 8) for blank in b"\n\r\t "),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"MATLAB 5.0 MAT-file", "mat"),
    (b"SIMPLE  =", "fits"),
    (b"ZISRAWFILE", "czi"),
    (b"NRRD000", "nrrd"),
    (b"<svg", "svg"),
    (b"%PDF", "pdf"),
)
# Position in bytes and content of a mark in the middle of a file → the name of the format.
MARKS = ((128, b"DICM", "dicom"), (344, b"n+1\0", "nifti"), (344, b"ni1\0", "nifti"))
# A brand of a file of the MP4 family → the name of the format.
BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"crx ": "camera_raw",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "heic"),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "heic"),
}
# Brands of pictures in general. HEIC and AVIF files also have them.
PICTURE_BRANDS = {b"mif1", b"msf1", b"miaf", b"heif"}
# The name of a format that is not read → what it is, and what the user can do.
WAYS_OUT = {
    "heic": "it is a HEIC, the format of iPhones; export it as JPEG (on an iPhone: Settings, "
    "Camera, Formats, Most Compatible)",
    "avif": "it is an AVIF; convert it to PNG or JPEG",
    "dicom": "it is a DICOM file of a medical device; convert it to PNG of 16 bits, for example by "
    "`dcmj2pnm +on2 IN.dcm OUT.png` of DCMTK",
    "nifti": "it is a NIfTI volume; save its slices as PNG or TIFF of 16 bits",
    "camera_raw": "it is the raw file of a camera; develop it to JPEG or PNG",
    "jpeg2000": "it is a JPEG 2000; convert it to PNG or TIFF",
    "jpeg_xl": "it is a JPEG XL; convert it to PNG or JPEG",
    "exr": "it is an OpenEXR with floating-point values; convert it to PNG or TIFF of 16 bits",
    "netpbm": "it is a PGM, PPM or PBM; convert it to PNG",
    "hdf5": "it is an HDF5 file; save its pictures as PNG, or as arrays in an .npz",
    "mat": "it is a MATLAB file; save its pictures as PNG, or as arrays in an .npz",
    "fits": "it is a FITS file; convert it to PNG or TIFF of 16 bits",
    "czi": "it is a microscope file of Zeiss; export it as PNG or TIFF of 16 bits",
    "nrrd": "it is an NRRD volume; save its slices as PNG or TIFF of 16 bits",
    "psd": "it is a Photoshop document; export it as PNG or TIFF",
    "pdf": "it is a PDF; export its pages or pictures as PNG",
    "svg": "it is an SVG, which has no pixels; export it as PNG",
    "ico": "it is an icon file; convert it to PNG",
}

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
    >>> name_format(b"\\0\\0\\0\\x1cftypmif1\\0\\0\\0\\0mif1avifmiaf")
    'avif'

    A DICOM file begins with 128 bytes for any purpose, and then the letters `DICM`. If these 128
    bytes are the start of another format, the file can also be read as this format.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return _name_brand(data)
    if data.startswith(b"<?xml") and b"<svg" in data[:1000]:
        return "svg"
    if data.startswith(b"BM") and data[:26].isascii() and data[:26].decode().isprintable():
        return None
    found = next((name for start, name in SIGNATURES if data.startswith(start)), None)
    return found or next((name for at, mark, name in MARKS if data.startswith(mark, at)), None)


def _name_brand(data: bytes) -> str | None:
    """Return the name of the format of a file of the MP4 family. None if it is no picture.

    Bytes 8 to 11 are the major brand. From byte 16 to the end of the first box, there are more
    brands. Example: an AVIF may have the major brand `mif1`, which means any picture, and then the
    brand `avif`.
    """
    end = min(int.from_bytes(data[:4]), len(data))
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    named = next((BRANDS[brand] for brand in brands if brand in BRANDS), None)
    return named or ("heic" if PICTURE_BRANDS & {*brands} else None)


def is_read(format_name: str) -> bool:
    """Return whether Fovea reads images of a format, which `name_format` has returned."""
    return format_name not in WAYS_OUT


def way_out(format_name: str) -> str:
    """Return what a file that is not supported is, and what the user can do.

    format_name: the name of the format, which `name_format` has returned.

    >>> way_out("psd"), way_out("jpeg")  # doctest: +NORMALIZE_WHITESPACE
    ('it is a Photoshop document; export it as PNG or TIFF',
     'it is a rare kind of jpeg; save it as PNG')
    """
    return WAYS_OUT.get(format_name, f"it is a rare kind of {format_name}; save it as PNG")


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
