"""Fingerprints → the few pairs worth comparing, without looking at all pairs.

Locality-sensitive hashing with random hyperplanes (Charikar, 2002): a fingerprint gets BITS bits,
each the side of a plane on which the magnitudes of its spectrum lie. Those of the same picture,
however turned, are on the same side of nearly all planes. The bits are cut into words. Who shares
a word is compared by all bits, and who agrees in most of them is worth comparing. Words grow with
the logarithm of the number of images, so chance gives each image a bounded number of companions.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from components.images.fingerprints import ANGLES, AREAS, RINGS, Floats, spectra

Packed = NDArray[np.uint64]

BITS = 1024
SEED = 7  # of the planes; another would find the same pairs but for a few at the border
SHORTEST_WORD = 10  # bits: few images are compared nearly all with all
SPARE = 2  # bits in a word beyond log2 N, since planes are not quite independent
# Unlike bits grow with the angle between two spectra, and that with the root of what is missing to
# similarity 1: copies at a similarity of 0.9 differ in 8 % of the bits, and one in 1,000 in 22 %.
UNLIKE = 0.7
WINDOW = 32  # companions looked at where very many share a word
AT_ONCE = 1 << 16  # rows or pairs; bounds the memory


def candidate_pairs(
    samples: NDArray[np.int8], required: NDArray[np.float64]
) -> Iterator[NDArray[np.int64]]:
    """Yield, word by word, int64 [pairs]: pairs of rows as lower * N + higher, sorted, each once.

    A pair that shares several words comes with each of them.

    samples: int8 [N, RINGS, ANGLES]. required: float [N], the similarity that an image must have
    with another to count as its copy. Time grows as N log N.
    """
    if len(samples) < 2:
        return
    bits = _bits(samples)
    length = max(SHORTEST_WORD, math.ceil(math.log2(len(samples))) + SPARE)
    unlike = (BITS * UNLIKE * np.sqrt(1 - required)).astype(np.int64)
    for start in range(0, BITS - 2 * length + 1, length):
        found = list(_sharing(bits, unlike, start, length))
        if found:
            yield np.unique(np.concatenate(found))


def _bits(samples: NDArray[np.int8]) -> Packed:
    """Return uint64 [N, BITS / 64]."""
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
    """Draw planes through the mean of all spectra, as far as it is known before any is seen.

    Outer rings stand for more area, so their magnitudes are larger: a plane that leant to them
    would have all pictures on one side. Each is made to balance rings at every frequency.
    """
    shape = (BITS, RINGS, ANGLES // 2 + 1)
    planes = np.random.default_rng(SEED).standard_normal(shape, np.float32)
    growth = np.sqrt(AREAS) / np.sqrt(AREAS.sum())
    planes -= (planes * growth).sum(1, keepdims=True) * growth
    return np.ascontiguousarray(planes.reshape(BITS, -1).T)


def _sharing(
    bits: Packed, unlike: NDArray[np.int64], start: int, length: int
) -> Iterator[NDArray[np.int64]]:
    """Yield pairs, as lower * N + higher, that share a word and all but `unlike` bits.

    Where more than WINDOW images share the word, neighbours are those alike in the next one too.
    """
    word, tie = _word(bits, start, length), _word(bits, start + length, length)
    order = np.lexsort((tie, word))
    word = word[order]
    for step in range(1, min(WINDOW, len(bits) - 1) + 1):
        at = np.flatnonzero(word[step:] == word[:-step])
        if not len(at):
            return
        for chunk in np.array_split(at, math.ceil(len(at) / AT_ONCE)):
            first, second = order[chunk], order[chunk + step]
            differing = np.bitwise_count(bits[first] ^ bits[second]).sum(axis=1, dtype=np.int64)
            alike = differing <= np.minimum(unlike[first], unlike[second])
            first, second = first[alike], second[alike]
            yield np.minimum(first, second) * len(bits) + np.maximum(first, second)


def _word(bits: Packed, start: int, length: int) -> NDArray[np.int64]:
    """Return int64 [N]: `length` bits from bit `start` on."""
    from_byte, to_byte = start // 8, (start + length + 7) // 8
    some = np.unpackbits(bits.view(np.uint8)[:, from_byte:to_byte], axis=1)
    own = some[:, start - 8 * from_byte :][:, :length].astype(np.int64)
    return own @ (1 << np.arange(length, dtype=np.int64))
