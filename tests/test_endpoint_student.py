"""A student behind a chat API: the same loop, in messages; what the server counts, refuses and fails at is typed."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fault_server import Behaviour, FaultServer, completion, slow, status
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import Rules
from rl2f_hub.dialogue.runner import Rollout, Student, run_dialogues
from rl2f_hub.dialogue.text_chat import TextChat
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.engines import Sampling
from rl2f_hub.engines.endpoint import messages_of, parse_endpoint
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import StopReason, Task
from rl2f_hub.students.load import open_student
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard

Make = Callable[..., Any]
TOO_LONG = json.dumps({"error": {"message": "This model's maximum context length is 64 tokens.", "code": 400}}).encode()


def full(request: dict[str, Any]) -> Any:
    return 400, {"Content-Type": "application/json"}, TOO_LONG


@pytest.fixture
def server() -> Iterator[FaultServer]:
    running = FaultServer(completion("5"))
    yield running
    running.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2f_hub.endpoints.client.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def student(server: FaultServer) -> Student:
    return open_student(f"{server.url}#small")


def play(tasks: list[Task], student: Student, teacher: str = "scripted", **options: Any) -> list[Rollout]:
    settings: dict[str, Any] = {"max_turns": 3, "sampling": Sampling(0.5, 0.9, 8), "seed": 0, **options}
    return run_dialogues(tasks, student, build_teacher(teacher), guard=Guard(), **settings)


def by_turn(*texts: str) -> Callable[[dict[str, Any]], Behaviour]:
    """The attempt depends on how often the student was answered."""
    return lambda request: completion(texts[len(request["messages"]) // 2])


def test_a_dialogue_is_played_in_messages_and_ends_when_solved(
    server: FaultServer, student: Student, make_task: Make
) -> None:
    server.by = by_turn("5", "407", "so it is 408")
    timings = Timings()
    (rollout,) = play([make_task(12)], student, timings=timings)
    assert rollout.stop_reason is StopReason.SOLVED
    assert [t.attempt for t in rollout.turns] == ["5", "407", "so it is 408"]
    first, second, third = (r["messages"] for r in server.requests)
    assert first == [{"role": "user", "content": make_task(12).prompt}]
    assert second == [*first, {"role": "assistant", "content": "5"}, {"role": "user", "content": feedback(rollout, 0)}]
    assert third[:3] == second
    assert len(third) == 5
    (request, again) = server.requests[:2]
    assert {k: request[k] for k in ("model", "max_tokens", "temperature", "top_p")} == {
        "model": "small",
        "max_tokens": 8,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert request["seed"] != again["seed"]
    assert rollout.written == [10, 10, 10], "as the server counts"
    assert timings.student_tokens == 30
    assert rollout.ledger.logprobs == []
    assert rollout.dialogue(student.name, "scripted", Sampling()).student == "small"


def feedback(rollout: Rollout, turn: int) -> str:
    said = rollout.turns[turn].feedback
    assert said is not None
    return said.text


@given(
    st.lists(st.tuples(st.text(), st.booleans(), st.text(min_size=1)), max_size=4),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=20),
)
def test_a_ledger_of_characters_says_what_was_said(turns: list[tuple[str, bool, str]], prompt: str) -> None:
    """Whatever texts hold, marks of other templates and lone surrogates included: spans partition, roles are kept."""
    chat = TextChat()
    assert isinstance(chat, ChatFormat)
    ledger = chat.open(prompt)
    messages = [{"role": "user", "content": prompt}]
    for turn, (attempt, stops, words) in enumerate(turns, 1):
        chat.attempt(ledger, [*chat.encode(attempt), *([chat.eos_id] if stops else [])], [], turn)
        chat.feedback(ledger, words, turn)
        messages += [{"role": "assistant", "content": attempt}, {"role": "user", "content": words}]
        assert chat.decode(ledger.of("student", turn)) == attempt
        assert chat.decode(ledger.of("teacher", turn)) == words
    assert messages_of(ledger.ids) == messages
    assert [s.start for s in ledger.spans] == [0, *(s.end for s in ledger.spans[:-1])]
    assert ledger.spans[-1].end == len(ledger.ids)
    assert sum(ledger.mask("student")) == sum(len(a) + stops for a, stops, _ in turns)


def test_the_oldest_attempts_leave_and_fresh_attempts_begin_anew(
    server: FaultServer, student: Student, make_task: Make
) -> None:
    play([make_task(12)], student, "none")
    assert [len(r["messages"]) for r in server.requests] == [1, 1, 1]
    del server.requests[:]
    server.by = lambda request: completion("<think>hm</think>5")
    stripped = open_student(f"{server.url}#small", thinking="strip")
    (rollout,) = play([make_task(12)], stripped)
    assert rollout.forked
    assert [m["content"] for m in server.requests[2]["messages"] if m["role"] == "assistant"] == ["5", "5"]
    del server.requests[:]
    student.engine.context_length = 130
    (rollout,) = play([make_task(12)], student, rules=Rules(history="drop_oldest"), max_turns=5)
    assert rollout.stop_reason is StopReason.TURN_LIMIT
    assert len(server.requests[-1]["messages"]) < 9


def test_a_cut_attempt_is_marked_and_goes_on(server: FaultServer, student: Student, make_task: Make) -> None:
    server.behaviours = [completion("4 and then", "length"), completion("5")]
    (rollout,) = play([make_task(12)], student, max_turns=2)
    assert [t.cut for t in rollout.turns] == [True, False]
    assert server.requests[1]["messages"][1]["content"] == "4 and then"


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (full, StopReason.CONTEXT_FULL),
        (status(500), StopReason.STUDENT_ERROR),
        (status(400), StopReason.STUDENT_ERROR),
        (lambda request: None, StopReason.STUDENT_ERROR),
        (completion("", "content_filter"), StopReason.STUDENT_ERROR),
    ],
    ids=["too long", "500", "400", "hangs up", "filtered"],
)
def test_a_request_that_fails_ends_its_own_dialogue(
    server: FaultServer, make_task: Make, fault: Behaviour, ends: StopReason
) -> None:
    tasks = [make_task(12), make_task(13), make_task(14)]
    server.by = lambda r: (
        completion("5") if "13" not in r["messages"][0]["content"] or len(r["messages"]) < 3 else fault
    )
    student = open_student(f"{server.url}#small")
    student.engine.client.spec = student.engine.client.spec.model_copy(update={"max_retries": 1, "max_concurrency": 1})
    order = [tasks[0], tasks[2], tasks[1]]  # last in its batch: who comes after one that cannot be reached is not asked
    rollouts = play(order, student)
    assert [r.stop_reason for r in rollouts] == [StopReason.TURN_LIMIT, StopReason.TURN_LIMIT, ends]
    assert [len(r.turns) for r in rollouts] == [3, 3, 1]
    for rollout in rollouts:
        row = rollout.dialogue("s", "t", Sampling()).to_row()
        assert row["stop_reason"] == rollout.stop_reason


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(401), r"student: http.* refuses the key \(401\); check the key in student\.key_env"),
        (status(404), r"student: http.* does not know 'small' \(404\); check"),
        (lambda request: None, r"student: http.* does not answer \(unreachable\); check the address"),
    ],
)
def test_what_concerns_every_request_ends_the_evaluation_in_one_line(
    server: FaultServer, student: Student, make_task: Make, fault: Behaviour, message: str
) -> None:
    server.behaviours = [fault]
    student.engine.client.spec = student.engine.client.spec.model_copy(update={"max_retries": 0})
    with pytest.raises(RL2FError, match=message) as caught:
        play([make_task(12), make_task(13)], student)
    assert "\n" not in str(caught.value)


def test_attempts_run_side_by_side_and_belong_to_their_dialogues(
    server: FaultServer, student: Student, make_task: Make
) -> None:
    def by(request: dict[str, Any]) -> Behaviour:
        number = int(request["messages"][0]["content"].split()[2])
        return slow(0.03 * (number % 4), completion(str(number * 34) if number % 2 else f"no {number}"))

    server.by, server.together = by, 2
    told: dict[int, list[int]] = {}
    rollouts = play(
        [make_task(n, str(n * 34)) for n in range(20)],
        student,
        max_turns=1,
        on_token=lambda row, token: told.setdefault(row, []).append(token),
    )
    assert 1 < server.most <= 8
    assert [r.turns[0].attempt for r in rollouts] == [str(n * 34) if n % 2 else f"no {n}" for n in range(20)]
    assert [student.chat.decode(told[n]) for n in range(20)] == [r.turns[0].attempt for r in rollouts]


def test_a_key_goes_only_where_it_was_named_for(
    server: FaultServer, make_task: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MINE", "sk-secret")
    caplog.set_level("DEBUG")
    play([make_task(12)], open_student(f"{server.url}#small"), max_turns=1)
    assert not any("secret" in value for value in server.headers[0].values())
    play([make_task(12)], open_student(f"{server.url}#small", key_env="MINE"), max_turns=1)
    assert server.headers[1]["authorization"] == "Bearer sk-secret"
    assert "secret" not in caplog.text
    with pytest.raises(UsageError, match=r"student\.key_env: the environment variable NONE_SUCH is not set"):
        open_student(f"{server.url}#small", key_env="NONE_SUCH")


@pytest.mark.parametrize("text", ["https://host/v1", "http://host/v1#", "provider:together", "https://me@host/v1#m"])
def test_an_endpoint_without_a_model_or_address_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"student: '(https?://|provider:)"):
        open_student(text)


def test_what_is_no_endpoint_is_left_alone() -> None:
    for text in ("me/model", "./folder", "/a/b#c", "httpx/model"):
        assert parse_endpoint(text) is None
    spec = parse_endpoint("provider:together#org/model")
    assert spec is not None
    assert (spec.provider, spec.model, spec.url) == ("together", "org/model", None)


def test_generation_and_recipes_refuse_it(student: Student) -> None:
    from rl2f_hub.generate import generate
    from rl2f_hub.recipe import ModelSpec

    with pytest.raises(UsageError, match="student: 'small' is an endpoint"):
        generate(None, student)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is an endpoint"):
        ModelSpec(id="https://host/v1#m")


def test_it_says_through_a_server_what_it_says_here(products: list[Task], make_student: Make) -> None:
    """A served tiny model, greedy: the transcript over HTTP is the one of the engine that holds the model.

    Up to an attempt that is no text (its bytes are no UTF-8), which cannot come back from a server as it was.
    """
    local = make_student()
    sampling = Sampling(0.0, 1.0, 8)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                chat, ledger = local.chat, local.chat.open(request["messages"][0]["content"])
                for turn, (said, heard) in enumerate(
                    zip(request["messages"][1::2], request["messages"][2::2], strict=True), 1
                ):
                    chat.attempt(ledger, [*chat.encode(said["content"]), chat.eos_id], [], turn)
                    chat.feedback(ledger, heard["content"], turn)
                (out,) = local.engine.open([0], sampling, chat.stop_ids).generate([0], [ledger.ids], 1)
            text = chat.decode(out.ids)
            code, headers, content = completion(text, "stop" if out.stopped else "length")(request)  # type: ignore[misc]
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    lock = threading.Lock()
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http_server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        remote = open_student(f"http://127.0.0.1:{http_server.server_address[1]}/v1#tiny")
        there = play(products, remote, sampling=sampling, max_turns=2)
    finally:
        http_server.shutdown()
        http_server.server_close()
    here = play(products, local, sampling=sampling, max_turns=2)
    for a, b in zip(there, here, strict=True):
        turns = 1 + ("\ufffd" not in b.turns[0].attempt)
        assert a.turns[:turns] == b.turns[:turns]
    assert len({r.turns[0].attempt for r in here}) > 1
