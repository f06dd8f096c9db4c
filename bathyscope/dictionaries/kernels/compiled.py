"""How kernels are compiled: by numba, without the interpreter lock, kept on disk between runs.

No compiler is needed on the user's side. The first use of a kernel on a machine takes seconds, later ones none.
"""

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

log = logging.getLogger(__name__)


def compiled(*, reorder: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for kernels. `reorder` lets sums over a row be taken in any (fixed) order, which vectorises them."""
    fast = {"contract", "reassoc", "nsz"} if reorder else {"contract"}

    def compile_(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(nogil=True, fastmath=fast, cache=True)(function)
        except RuntimeError as error:  # no folder to keep compiled code in, beside the file or in the user's cache
            log.info("compiled kernels are not kept for the next run: %s", error)
            return njit(nogil=True, fastmath=fast)(function)

    return compile_
