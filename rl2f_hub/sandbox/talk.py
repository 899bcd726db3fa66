"""Writing to and reading from the pipes of a job at once, under a deadline."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable


class Talk:
    """Writes some pipes and reads others until all that are read have ended. Closes every pipe that it was given."""

    def __init__(self, to_write: dict[int, bytes]) -> None:
        self._selector = selectors.DefaultSelector()
        self._readers = 0
        for fd, data in to_write.items():
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_WRITE, memoryview(data))

    def listen(self, fd: int, take: Callable[[bytes], bool]) -> None:
        """`take` gets what comes, and says whether to read on."""
        self._selector.register(fd, selectors.EVENT_READ, take)
        self._readers += 1

    def run(self, ends: float, deadline: Callable[[], float]) -> str:
        """`ended`: everything read; `stopped`: a reader wants no more; `late`: a deadline (monotonic) has passed."""
        try:
            while self._readers:
                left = min(ends, deadline()) - time.monotonic()
                if left <= 0:
                    return "late"
                for key, _ in self._selector.select(left):
                    if not self._step(key):
                        return "stopped"
            return "ended"
        finally:
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            self._selector.close()

    def _step(self, key: selectors.SelectorKey) -> bool:
        if callable(key.data):
            data = os.read(key.fd, 1 << 16)
            if data:
                return bool(key.data(data))
            self._readers -= 1
            self._done(key.fd)
            return True
        rest = key.data
        try:
            rest = rest[os.write(key.fd, rest) :] if rest else rest
        except BlockingIOError:
            return True
        except OSError:
            rest = b""  # nobody reads any more: not this side's business
        if rest:
            self._selector.modify(key.fd, selectors.EVENT_WRITE, rest)
        else:
            self._done(key.fd)
        return True

    def _done(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)
