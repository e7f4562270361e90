"""Random numbers that are computed from a key: SplitMix64, and permutations made of it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int64]


MASK_64 = 2**64 - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15

# What a key derived from the user's seed is for.
WEIGHTS = 0
ORDER = 1
DROPOUT = 2

PERMUTATION_ROUNDS = 12


def mix(x: int) -> int:
    """Scramble 64 bits: the finaliser of SplitMix64, a bijection of {0, ..., 2^64 - 1}."""
    x &= MASK_64
    x ^= x >> 30
    x = (x * 0xBF58476D1CE4E5B9) & MASK_64
    x ^= x >> 27
    x = (x * 0x94D049BB133111EB) & MASK_64
    x ^= x >> 31
    return x


def derive(key: int, i: int) -> int:
    """Return the i-th output (from 0) of SplitMix64 seeded with key: mix(key + G (i + 1))."""
    return mix(key + GOLDEN_GAMMA * (i + 1))


def derive_many(key: int, count: int) -> NDArray[np.uint64]:
    """Return ``[derive(key, i) for i in range(count)]`` as an array; uint64 wraps at 2^64."""
    i = np.arange(count, dtype=np.uint64)
    x = np.uint64(key & MASK_64) + np.uint64(GOLDEN_GAMMA) * (i + np.uint64(1))
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def permutation_constants(n: int, key: int) -> tuple[int, int, list[tuple[int, int]]]:
    """Return ``mask, shift, [(m_0, c_0), (m_1, c_1), ...]`` of the permutation of n by key.

    bits = max(1, bit_length(n - 1)), mask = 2^bits - 1, shift = max(1, bits // 2),
    m_r = derive(key, 2r) | 1, c_r = derive(key, 2r + 1).
    """
    bits = max(1, (n - 1).bit_length())
    constants = [
        (derive(key, 2 * r) | 1, derive(key, 2 * r + 1)) for r in range(PERMUTATION_ROUNDS)
    ]
    return 2**bits - 1, max(1, bits // 2), constants


def permute(i: int, n: int, key: int) -> int:
    """Return where the permutation of {0, ..., n - 1} by key sends i.

    One pass sends x through x <- (x m_r + c_r) mod 2^bits, x <- x xor (x >> shift) for every round
    r. Both are bijections of {0, ..., 2^bits - 1} (m_r is odd), so one pass is too. Passes are
    repeated until x < n (cycle walking); that makes it a bijection of {0, ..., n - 1}.
    """
    mask, shift, constants = permutation_constants(n, key)
    x = i
    while True:
        for multiplier, increment in constants:
            x = (x * multiplier + increment) & mask
            x ^= x >> shift
        if x < n:
            return x


def permutation(n: int, key: int) -> IntArray:
    """Return ``[permute(i, n, key) for i in range(n)]``, all positions at once."""
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    mask, shift, constants = permutation_constants(n, key)
    x = np.arange(n, dtype=np.uint64)
    walking = np.ones(n, dtype=bool)
    while walking.any():
        moved = x[walking]
        for multiplier, increment in constants:
            # Wrapping at 2^64 does no harm: only the lowest bits are kept.
            moved = (moved * np.uint64(multiplier) + np.uint64(increment)) & np.uint64(mask)
            moved ^= moved >> np.uint64(shift)
        x[walking] = moved
        walking = x >= np.uint64(n)
    return x.astype(np.int64)
