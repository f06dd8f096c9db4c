"""Which documents are held out: decided by seed and document number alone, never by rows or by how many there are."""

from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Int, UInt

BLOCK = 10
"""Consecutive documents among which the held-out ones are drawn: the share holds in every stretch of the stream."""


def held_out(documents: Int[np.ndarray, " M"], *, share: float, seed: int) -> Bool[np.ndarray, " M"]:
    """True for documents that training must not see.

    Of every `BLOCK` consecutive document numbers, those with the lowest hashes of (seed, number) are held out; how
    many is `BLOCK · share`, rounded so that the running total is right. Adding documents changes no earlier one.
    """
    if len(documents) == 0:
        return np.zeros(0, dtype=np.bool_)
    n_blocks = int(documents.max()) // BLOCK + 1
    hashes = _hash(np.arange(n_blocks * BLOCK, dtype=np.uint64), seed).reshape(n_blocks, BLOCK)
    ranks = hashes.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    exact = Fraction(str(share))
    totals = np.array([int(exact * BLOCK * (b + 1) + Fraction(1, 2)) for b in range(n_blocks)], dtype=np.int64)
    quotas = np.diff(totals, prepend=0)
    return (ranks < quotas[:, None]).ravel()[documents]


def _hash(numbers: UInt[np.ndarray, " M"], seed: int) -> UInt[np.ndarray, " M"]:
    """splitmix64 of number and seed (Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64) * np.uint64(0xD1B54A32D192ED03)
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
