"""Requests to end a training early and go on with what it has learned."""

from __future__ import annotations

import threading


class FinishRequests:
    """Which trainings run, by node, and which of them were asked to finish. Asked from another thread than they run
    in."""

    def __init__(self):
        self._lock = threading.Lock()
        self._asked: dict[str, bool] = {}

    def begin(self, node: str) -> None:
        with self._lock:
            self._asked[node] = False

    def end(self, node: str) -> None:
        with self._lock:
            self._asked.pop(node, None)

    def ask(self, node: str) -> bool:
        """Ask the training of a node to finish; false where none runs there."""
        with self._lock:
            if node not in self._asked:
                return False
            self._asked[node] = True
            return True

    def is_asked(self, node: str) -> bool:
        with self._lock:
            return self._asked.get(node, False)


REQUESTS = FinishRequests()  # one server has one queue, and runs one training at a time
