"""Random numbers that belong to an item, not to an order: the same for any batching, and after a resume.

A uniform sample of a stream is "the items with the smallest random numbers" (bottom-k sampling); with numbers that
depend only on seed, feature and row, the sample does not depend on how the stream was cut.
"""

import numpy as np
from jaxtyping import Int, UInt


def random_bits(seed: int, first: Int[np.ndarray, " N"], second: Int[np.ndarray, " N"]) -> UInt[np.ndarray, " N"]:
    """64 random bits for each pair of items, by three rounds of the SplitMix64 mixer (Steele et al. 2014)."""
    start = _mix(np.full(len(first), seed % 2**64, dtype=np.uint64))
    return _mix(_mix(start ^ first.astype(np.uint64)) ^ second.astype(np.uint64))


def _mix(x: UInt[np.ndarray, " N"]) -> UInt[np.ndarray, " N"]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
