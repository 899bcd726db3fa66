"""An endpoint teacher each of whose requests is answered once by every kind of fault: nothing is lost, all is counted.

What passes is tried again, and the dialogues are those of a sound server. What does not pass costs its own dialogue the
rest, with a typed end and a count; a refused key or model costs those that were still to be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import NEVER, Behaviour, FaultServer, body, completion, status

from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.recipe.teacher_sections import EndpointSpec, TeacherSpec
from rl2f_hub.records import StopReason
from rl2f_hub.teachers.endpoint import EndpointTeacher
from rl2f_hub.teachers.guard import Guard

GOOD = completion("Thinking. <feedback>Look at the tens.</feedback>")
DIALOGUES = 2
SOON_S, LATE_S = 2.0, 60.0  # limits of time of a request: where one is to exceed it, and elsewhere


def cut_off(request: dict[str, Any]) -> Any:
    """Half of a good answer, whose whole length was promised."""
    answer = GOOD(request)
    assert answer is not None
    code, headers, content = answer
    return code, {**headers, "Content-Length": str(len(content))}, content[: len(content) // 2]


PASSING: dict[str, Behaviour] = {
    "timeout": NEVER,
    "hung up": lambda request: None,
    "body cut off": cut_off,
    "408": status(408),
    "409": status(409),
    "429": status(429, Retry_After="0"),
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "504": status(504),
}
OWN: dict[str, tuple[Behaviour, str]] = {  # costs one dialogue
    "400": (status(400), "http_400"),
    "412": (status(412), "http_412"),
    "422": (status(422), "http_422"),
    "a page": (body(b"<html><h1>It works</h1></html>"), "not_json"),
    "nothing": (body(b""), "not_json"),
    "half of it": (lambda request: (200, {}, GOOD(request)[2][:40]), "not_json"),  # type: ignore[index]
}
LASTING: dict[str, tuple[Behaviour, str]] = {  # no other request could do better
    "401": (status(401), "http_401"),
    "403": (status(403), "http_403"),
    "404": (status(404), "http_404"),
}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    running = FaultServer(GOOD)
    yield running
    running.close()


@pytest.fixture
def play(
    server: FaultServer, saying: Any, make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`play(*behaviours)`: (what each dialogue came to, the teacher, how many requests were sent)."""
    monkeypatch.setattr("rl2f_hub.endpoints.client.FIRST_PAUSE_S", 0.01)

    def go(*behaviours: Behaviour, cache: str | None = None) -> Any:
        limit = SOON_S if NEVER in behaviours else LATE_S
        spec = EndpointSpec(url=server.url, model="m", timeout_s=limit, max_retries=2, max_concurrency=1)
        folder = tmp_path / cache if cache else None
        teacher = EndpointTeacher(TeacherSpec(kind="endpoint", max_tokens=64, endpoint=spec), folder)
        server.behaviours, before = [*behaviours, GOOD], len(server.requests)
        tasks = [make_task(n) for n in range(DIALOGUES)]
        made = run_dialogues(
            tasks, saying(["1", "2"]), teacher, guard=Guard(), max_turns=2, sampling=Sampling(), seed=0
        )
        ends = [(r.stop_reason, [t.feedback and t.feedback.text for t in r.turns]) for r in made]
        return ends, teacher, len(server.requests) - before

    return go


def test_what_passes_leaves_no_trace_but_a_count(play: Callable[..., Any]) -> None:
    clean, _, requests = play()
    assert [end for end, _ in clean] == [StopReason.TURN_LIMIT] * DIALOGUES
    assert requests >= DIALOGUES
    for name, fault in PASSING.items():
        for number in range(requests):
            ends, teacher, sent = play(*[GOOD] * number, fault)
            assert (name, number, ends, sent) == (name, number, clean, requests + 1)
            assert teacher.counts["retries"] == 1


@pytest.mark.parametrize("name", [*OWN, *LASTING])
def test_what_does_not_pass_costs_its_dialogue_and_has_a_name(
    name: str, play: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    clean, _, requests = play()
    fault, reason = {**OWN, **LASTING}[name]
    for number in range(requests):
        caplog.clear()
        ends, teacher, sent = play(*[GOOD] * number, fault, cache=f"cache-{number}")
        bad = [i for i, (end, _) in enumerate(ends) if end is StopReason.TEACHER_ERROR]
        assert all(end is not None for end, _ in ends)
        assert [e for i, e in enumerate(ends) if i not in bad] == [e for i, e in enumerate(clean) if i not in bad]
        assert 1 <= len(bad) == teacher.counts[reason]
        assert len(bad) == 1 or name in LASTING
        assert number < sent <= (number + 1 if name in LASTING else requests)
        lines = [r.getMessage() for r in caplog.records if r.name.startswith("rl2f_hub")]
        assert sum(reason.removeprefix("http_") in line or "no feedback" in line for line in lines) == 1
        assert not any("\n" in line for line in lines)
        again, _, _ = play(cache=f"cache-{number}")  # what failed was not kept
        assert again == clean
