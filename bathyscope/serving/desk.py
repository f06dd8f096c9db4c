"""`Desk`: what every connection of a server works with, and how many are being attended to."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bathyscope.models.model import Model
from bathyscope.serving.access import Access
from bathyscope.serving.answer import Speaker
from bathyscope.serving.limits import LimitSettings
from bathyscope.serving.request import RequestReader
from bathyscope.serving.scheduler import Scheduler
from bathyscope.serving.shelf import Shelf
from bathyscope.serving.steers import OPERATIONS
from bathyscope.steering.clause import Clause


class Desk:
    """The open parts of one server."""

    def __init__(
        self, model: Model, shelf: Shelf, access: Access, limits: LimitSettings, standing: Sequence[Clause]
    ) -> None:
        self.access, self.limits = access, limits
        self.speaker = Speaker(model)
        self.reader = RequestReader(model, shelf, limits, standing)
        self.scheduler = Scheduler(self.speaker, limits)
        self._shelf = shelf
        self._created = int(time.time())
        self._n_attended = 0
        self._changed = threading.Condition()

    def health(self) -> dict[str, Any]:
        """That the server is up."""
        return {"status": "ok"}

    def models(self) -> dict[str, Any]:
        """The one model, and what its steer clauses may name."""
        model = self.speaker.model
        dictionaries = {
            name: {"hookpoint": dictionary.hookpoint, "n_features": dictionary.n_features}
            for name, dictionary in self._shelf.dictionaries.items()
        }
        vectors = {name: {"hookpoint": vector.hookpoint} for name, vector in self._shelf.vectors.items()}
        steer = {
            "operations": list(OPERATIONS),
            "dictionaries": dictionaries,
            "vectors": vectors,
            "typical_norms": dict(self._shelf.norms),
        }
        entry = {"id": model.name, "object": "model", "created": self._created, "owned_by": "bathyscope"}
        context = min(model.context_length, self.limits.max_tokens)
        return {"object": "list", "data": [{**entry, "max_model_len": context, "steer": steer}]}

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Around one request, from its headers to the last byte of its answer."""
        with self._changed:
            self._n_attended += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_attended -= 1
                self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> None:
        """Until no request is being attended to, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_attended == 0, timeout=seconds)
