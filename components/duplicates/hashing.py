"""Fingerprints of N images → pairs of images that may be copies, without comparing all pairs.

A fingerprint is a small array that describes a picture; two fingerprints have a similarity of at
most 1 (see images.fingerprints). It is not guaranteed that every pair of copies is found. Of the
pairs of copies with a similarity of 0.9, about one in 1,000 is missed (see UNLIKE). The time grows
with N log N, not with N * N. Random numbers are drawn with a fixed seed, so the same fingerprints
in the same order always give the same pairs.

The method is locality-sensitive hashing with random hyperplanes (Charikar, 2002). The Fourier
transforms of a fingerprint are its spectrum (see images.fingerprints). The magnitudes of the
spectrum of an image are the coordinates of a point. BITS random planes give the image BITS bits:
bit k says on which side of plane k the point is. Rotating a picture does not change the magnitudes,
so a picture and its rotated copy have nearly the same bits. The bits are divided into words of
equal length. Two images share a word if all bits of this word are equal. If two images share at
least one word, all their bits are compared. If enough of these bits are equal, the pair is yielded.

Example: three images with 12 bits, divided into words of 4 bits. The image `b` is a copy of `a`.
The image `c` shows something else.

    image   word 1   word 2   word 3
    a       0110     1010     0011
    b       0110     1110     0011
    c       0110     0001     1100

`a` and `b` share the words 1 and 3. All bits of `a` and `b` are compared. Only 1 bit differs, so
`a` and `b` are yielded as a pair. `c` shares word 1 with `a` and `b`, but `c` differs from `a` in 7
bits and from `b` in 8 bits. So `c` is in no pair.

A word has log2 N + SPARE bits, and at least SHORTEST_WORD bits. With words of this length, an image
shares a given word with only a few images by chance. If a copy differs from its original in one bit
of a word, the two images do not share this word. But it is very unlikely that a copy and its
original share none of the words.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.images.fingerprints import ANGLES, AREAS, RINGS, Floats, spectra

Packed = NDArray[np.uint64]  # the bits of images; one integer contains 64 bits

BITS = 1024
SEED = 7  # seed of the planes; another seed gives nearly the same pairs
SHORTEST_WORD = 10  # minimum number of bits in a word, for any number of images
# A word has this many bits more than log2 N. The reason is that the bits of an image are not
# independent, so more pairs share a word by chance than with independent bits.
SPARE = 2
# Two images are a pair if the share of different bits is at most UNLIKE * sqrt(1 - required
# similarity). The formula has a square root for this reason: the share of different bits grows with
# the angle between the two spectra, and this angle grows with sqrt(1 - similarity). In a
# measurement, copies with a similarity of 0.9 differed in 8 % of their bits on average. One pair in
# 1,000 differed in at least 22 % of the bits. With UNLIKE = 0.7, the limit for a required
# similarity of 0.9 is also 22 %.
UNLIKE = 0.7
# For each word, the rows (one per image) are sorted by the word. Then each row is compared with at
# most this many of the rows that follow it.
WINDOW = 32
AT_ONCE = 1 << 16  # maximum number of pairs in one calculation; a larger number needs more memory


def candidate_pairs(
    samples: NDArray[np.int8], required: NDArray[np.float64]
) -> Iterator[NDArray[np.int64]]:
    """Yield, for each word with pairs, int64 [pairs]: sorted pairs of rows that may be copies.

    A row is the index of an image in `samples`. A pair of rows is stored as one number: lower row *
    N + higher row. If two rows share several words, their pair may be yielded once for each of
    these words.

    samples: int8 [N, RINGS, ANGLES], the fingerprints. required: float64 [N], the required
    similarity of each image. Two images count as copies if their similarity is at least the
    required similarity of both images.
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

    If the points of all images are on the same side of a plane, the bit of this plane is useless.
    The samples of a fingerprint are on rings. An outer ring covers more area than an inner ring, so
    its magnitudes are larger in every picture. Without a correction, the outer rings alone would
    decide on which side of a plane a point is. The correction: at every frequency, each plane is
    made orthogonal to the growth of the magnitudes from ring to ring.
    """
    shape = (BITS, RINGS, ANGLES // 2 + 1)
    planes = np.random.default_rng(SEED).standard_normal(shape, np.float32)
    growth = np.sqrt(AREAS) / np.sqrt(AREAS.sum())
    planes -= (planes * growth).sum(1, keepdims=True) * growth
    return np.ascontiguousarray(planes.reshape(BITS, -1).T)


def _pairs_of_word(
    bits: Packed, may_differ: NDArray[np.int64], start: int, length: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs of rows that share one word and differ in few enough bits.

    A pair is the number lower row * N + higher row. may_differ: int64 [N], for each image, the
    maximum number of bits in which a copy differs from it. start, length: the first bit of the word
    and the number of its bits.

    Rows are sorted by the word, so rows that share the word are neighbours. Step 1 compares each
    row with the row that is one place later, step 2 with the row that is two places later, and so
    on up to step WINDOW. If more than WINDOW images share a word (such as frames of a video), not
    all of their pairs are compared. So rows that share the word are also sorted by the next word.
    Then similar images are near to each other.
    """
    word, next_word = _word(bits, start, length), _word(bits, start + length, length)
    order = np.lexsort((next_word, word))
    word = word[order]
    for step in range(1, min(WINDOW, len(bits) - 1) + 1):
        at = np.flatnonzero(word[step:] == word[:-step])
        if not len(at):  # no word is shared by step + 1 images, so further steps find no pair
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
