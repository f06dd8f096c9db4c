"""`Wording`: token by token, the text that an answer can already be said to have.

Held back are bytes of an unfinished character and what may be the beginning of a stop string, so that a streamed
answer and a whole one are the same text.
"""

import codecs
from collections.abc import Sequence


class Wording:
    """The text of one answer as it grows."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.is_stopped = False
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._n_said = 0

    @property
    def n_characters(self) -> int:
        """Characters decoded so far, held ones included."""
        return self._n_said + len(self._held)

    @property
    def n_said(self) -> int:
        """Characters returned so far."""
        return self._n_said

    def push(self, piece: bytes) -> str:
        """What can be said once this token is known; afterwards `is_stopped` where it completed a stop string."""
        return self._release(self._decoder.decode(piece), is_last=False)

    def finish(self) -> str:
        """What was held back, when no token follows."""
        return self._release(self._decoder.decode(b"", final=True), is_last=True)

    def _release(self, more: str, *, is_last: bool) -> str:
        if self.is_stopped:
            return ""
        self._held += more
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        self.is_stopped = bool(places)
        n_safe = min(places) if places else len(self._held) if is_last else len(self._held) - self._n_doubtful()
        said, self._held = self._held[:n_safe], "" if self.is_stopped else self._held[n_safe:]
        self._n_said += len(said)
        return said

    def _n_doubtful(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        lengths = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)
