"""What the fuzz tests share: how many cases, a limit of time for each, made-up values, and what a refusal must be.

`RL2F_FUZZ_CASES` sets how many cases each test tries (50 in CI, the same each time); `fuzz.py` runs the long form. With
`RL2F_FUZZ_COUNTS` a line with the test's name goes into that file for each case that was really run.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rl2f_hub.errors import RL2FError

CASES = int(os.environ.get("RL2F_FUZZ_CASES", "50"))
COUNTS = os.environ.get("RL2F_FUZZ_COUNTS")
LIMIT_S = 60.0  # for one case, on a busy machine; none needs a second
usual = settings(
    max_examples=CASES,
    derandomize=CASES <= 50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def fuzz(test: Callable[..., None]) -> Callable[..., None]:
    """Decorates a `@given` test: each case is counted, and one that hangs fails."""
    handle: Any = test.hypothesis  # type: ignore[attr-defined]
    inner = handle.inner_test

    def hangs(number: int, frame: Any) -> None:
        raise AssertionError(f"a case took longer than {LIMIT_S:g} s")

    @wraps(inner)
    def limited(*args: Any, **named: Any) -> None:
        before = signal.signal(signal.SIGALRM, hangs)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            inner(*args, **named)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if COUNTS:
                with open(COUNTS, "a", encoding="ascii") as file:
                    file.write(f"{inner.__name__}\n")

    handle.inner_test = limited
    return usual(test)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["", "0", "-1", "1e999", "{x}"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def one_line(error: RL2FError) -> None:
    said = str(error)
    assert said.strip()
    assert "\n" not in said, said


def refuses_or(read: Callable[[], Any]) -> Any:
    """What `read` gives, or None where it refuses in one line."""
    try:
        return read()
    except RL2FError as error:
        one_line(error)
        return None
