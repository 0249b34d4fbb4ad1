"""Fingerprints → the few pairs of images worth comparing, without looking at all pairs.

Guarantee: the result does not depend on the order of the images or on chance (the planes have a
fixed seed). It is not guaranteed that every pair is found: for copies with similarity 0.9, one pair
in 1,000 differs in more bits than UNLIKE allows. The time grows with N log N, not with N * N.

How: locality-sensitive hashing with random hyperplanes (Charikar, 2002). An image gets BITS bits.
Bit k says on which side of plane k the magnitudes of the image's spectrum are. Turning a picture
does not change the magnitudes, so a picture and its turned copy agree in nearly all bits. The bits
are cut into words. Two images that share a word are compared in all their bits. If enough of these
bits agree, the pair is yielded.

Example: three images with 12 bits, cut into words of 4. b is a copy of a, c is another picture.

    image   word 1   word 2   word 3
    a       0110     1010     0011
    b       0110     1110     0011     shares words 1 and 3 with a, and differs in 1 bit: a pair
    c       0110     0001     1100     shares word 1 with a and b, but differs in 7 and 8: no pair

A word has log2 N bits and SPARE more bits. With words of this length, an image shares a word by
chance with only a few unlike images. A copy may differ in one bit of a word and so not share that
word, but it is very unlikely that it differs in all words.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.images.fingerprints import ANGLES, AREAS, RINGS, Floats, spectra

Packed = NDArray[np.uint64]

BITS = 1024
SEED = 7  # seed of the planes; another seed finds the same pairs, except for a few border cases
SHORTEST_WORD = 10  # minimum bits in a word; if images are few, nearly all pairs are then compared
SPARE = 2  # bits in a word beyond log2 N, since planes are not quite independent
# The share of bits that may differ is UNLIKE * sqrt(1 - similarity). The reason: the share of bits
# that differ grows with the angle between two spectra, and this angle grows with
# sqrt(1 - similarity). Measured: copies with a similarity of 0.9 differ in 8 % of the bits on
# average, and one copy in 1,000 differs in 22 % or more.
UNLIKE = 0.7
WINDOW = 32  # if very many images share a word, an image is compared with only this many after it
AT_ONCE = 1 << 16  # maximum number of rows or pairs in one calculation; bounds the memory


def candidate_pairs(
    samples: NDArray[np.int8], required: NDArray[np.float64]
) -> Iterator[NDArray[np.int64]]:
    """Yield int64 [pairs] for each word: the pairs of rows that are worth comparing, sorted.

    A pair of rows is one number: lower row * N + higher row. If two rows share several words, their
    pair is yielded once for each of these words.

    samples: int8 [N, RINGS, ANGLES]. required: float [N], the similarity that an image must have
    with another to count as its copy.
    """
    if len(samples) < 2:
        return
    bits = _bits(samples)
    length = max(SHORTEST_WORD, math.ceil(math.log2(len(samples))) + SPARE)
    may_differ = (BITS * UNLIKE * np.sqrt(1 - required)).astype(np.int64)
    for start in range(0, BITS - 2 * length + 1, length):
        chunks = list(_pairs_of_word(bits, may_differ, start, length))
        if chunks:
            yield np.unique(np.concatenate(chunks))


def _bits(samples: NDArray[np.int8]) -> Packed:
    """Return uint64 [N, BITS / 64]: the BITS bits of each image, packed into integers."""
    planes = _planes()
    packed = [
        np.packbits(_magnitudes(samples[start : start + AT_ONCE // 16]) @ planes > 0, axis=1)
        for start in range(0, len(samples), AT_ONCE // 16)
    ]
    return np.concatenate(packed).view(np.uint64)


def _magnitudes(samples: NDArray[np.int8]) -> Floats:
    magnitudes: Floats = np.abs(spectra(samples))
    return magnitudes.reshape(len(samples), -1)


def _planes() -> Floats:
    """Draw random planes, float32 [RINGS * (ANGLES / 2 + 1), BITS], one plane in each column.

    A plane is of no use if all images are on the same side of it. Outer rings cover more area, so
    their magnitudes are larger in every picture. Without a correction the outer rings alone would
    decide on which side an image is. So each plane is made orthogonal, at every frequency, to the
    growth of the magnitudes from ring to ring.
    """
    shape = (BITS, RINGS, ANGLES // 2 + 1)
    planes = np.random.default_rng(SEED).standard_normal(shape, np.float32)
    growth = np.sqrt(AREAS) / np.sqrt(AREAS.sum())
    planes -= (planes * growth).sum(1, keepdims=True) * growth
    return np.ascontiguousarray(planes.reshape(BITS, -1).T)


def _pairs_of_word(
    bits: Packed, may_differ: NDArray[np.int64], start: int, length: int
) -> Iterator[NDArray[np.int64]]:
    """Yield pairs, as lower * N + higher, that share the word and differ in few enough bits.

    Rows are sorted by the word, so rows that share the word are neighbours. Step 1 compares each
    row with the next row, step 2 with the row after the next, and so on up to WINDOW.
    Sometimes more than WINDOW images share a word (blank pages, frames of a video), and not all of
    their pairs are compared. So rows that share the word are also sorted by the next word, which
    brings the most similar images near to each other.
    """
    word, next_word = _word(bits, start, length), _word(bits, start + length, length)
    order = np.lexsort((next_word, word))
    word = word[order]
    for step in range(1, min(WINDOW, len(bits) - 1) + 1):
        at = np.flatnonzero(word[step:] == word[:-step])
        if not len(at):  # no word is shared by step + 1 images, so none by more
            return
        for chunk in np.array_split(at, math.ceil(len(at) / AT_ONCE)):
            first, second = order[chunk], order[chunk + step]
            differing = np.bitwise_count(bits[first] ^ bits[second]).sum(axis=1, dtype=np.int64)
            alike = differing <= np.minimum(may_differ[first], may_differ[second])
            first, second = first[alike], second[alike]
            yield np.minimum(first, second) * len(bits) + np.maximum(first, second)


def _word(bits: Packed, start: int, length: int) -> NDArray[np.int64]:
    """Return int64 [N]: the `length` bits that begin at bit `start`, as an integer."""
    from_byte, to_byte = start // 8, (start + length + 7) // 8
    unpacked = np.unpackbits(bits.view(np.uint8)[:, from_byte:to_byte], axis=1)
    word = unpacked[:, start - 8 * from_byte :][:, :length].astype(np.int64)
    return word @ (1 << np.arange(length, dtype=np.int64))
