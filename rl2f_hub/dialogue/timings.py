"""Where the time of dialogues goes: student, teacher and verifier. A plain sum that a caller makes and passes in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["student", "teacher", "verify"]


@dataclass(slots=True)
class Timings:
    """Seconds by part, and tokens: those that the student sampled, and those that a model wrote as teacher."""

    seconds: dict[Part, float] = field(default_factory=lambda: {"student": 0.0, "teacher": 0.0, "verify": 0.0})
    student_tokens: int = 0
    teacher_tokens: int = 0

    @contextmanager
    def during(self, part: Part) -> Iterator[None]:
        """Adds the time of the block to a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - began

    def note(self) -> str:
        """For a progress bar: tokens a second of the time they were made in, and every part's share of the whole."""
        whole = sum(self.seconds.values())
        if not whole:
            return ""
        rates = [f"{self.student_tokens / max(self.seconds['student'], 1e-9):.0f} tokens/s student"]
        if self.teacher_tokens:
            rates.append(f"{self.teacher_tokens / max(self.seconds['teacher'], 1e-9):.0f} tokens/s teacher")
        shares = ", ".join(f"{part} {seconds / whole:.0%}" for part, seconds in self.seconds.items())
        return f"{', '.join(rates)}; time: {shares}"
