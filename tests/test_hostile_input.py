"""Input from outside that once ended in a traceback, a leak or a hang: recipes, rows, replies, cards, adapters."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import load_recipe
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.tasks import load_tasks

HUGE = "0x" + "f" * 5000  # YAML reads it, Python refuses to write it


def in_time(work: Callable[[], Any], seconds: float = 60) -> Any:
    """What `work` gives; fails where it hangs. The limit is far above what it takes on any machine."""
    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return out[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"seed={HUGE}", "seed: a whole number of 20000 bits"),
        ("seed=-1", "seed: -1 is refused"),
        (f"train.grpo={{beta: {HUGE}}}", "train.grpo.beta: a whole number"),
        ('description="\\ud800"', "description': not valid YAML"),
        ('hub.root="a\\0b"', "hub.root: 'a\\x00b' holds a NUL"),
        ("train.grpo={beta: .nan}", "train.grpo.beta: nan"),
        ("generate.temperature=.inf", "generate.temperature: inf"),
        ("generate.temperature='inf'", "finite number"),
        ("train.grpo={beta: !!binary gIGC}", "the tag 'tag:yaml.org,2002:binary' is not read"),
        ("train.grpo={beta: !!set {a}}", "the tag 'tag:yaml.org,2002:set' is not read"),
        ("train.grpo={1: a, b: c}", "train.grpo: the key '1' is no text"),
        ("tasks.train.².count=3", "is not a section"),
        ("tasks.train." + "9" * 5000 + ".count=3", "is not a section"),
        ("tasks.train.²={}", "the list has"),
    ],
)
def test_what_a_manifest_could_not_hold_is_no_recipe(override: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_recipe("quickstart", [override])
    assert words in str(refused.value)


@pytest.mark.parametrize("place", ["hub.endpoint", "engine.server", "teacher.endpoint"])
def test_a_password_in_an_address_is_refused_and_not_repeated(place: str) -> None:
    url = "https://me:hunter2@host/v1"
    value = f"{{url: '{url}', model: m}}" if place == "teacher.endpoint" else url
    more = ["engine.kind=vllm"] if place == "engine.server" else []
    with pytest.raises(UsageError) as refused:
        load_recipe("quickstart", [f"{place}={value}", *more])
    assert "hunter2" not in str(refused.value) and place in str(refused.value)


def test_a_password_in_hf_endpoint_stops_what_would_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.pipeline import open_hub_of
    from rl2f_hub.recipe import HubSpec

    monkeypatch.setenv("HF_ENDPOINT", "https://me:hunter2@mirror")
    spec = HubSpec(endpoint="hf", dataset="d", adapter="a")
    with pytest.raises(UsageError, match="HF_ENDPOINT") as refused, open_hub_of(spec, tmp_path):
        pass
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "row",
    [
        '{"prompt": "a", "reference": "1", "verifier": []}',
        '{"prompt": "a", "reference": "1", "verifier": {"a": 1}}',
        '{"prompt": ["\\ud800"], "reference": "1"}',
        '{"prompt": {"\\ud800": 1}, "reference": "1"}',
        '{"prompt": "a", "reference": [["\\udfff"]]}',
    ],
)
def test_a_strange_value_makes_one_bad_row(tmp_path: Path, row: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(row + '\n{"prompt": "good", "reference": "1"}\n')
    reports: list[dict[str, Any]] = []
    made = load_tasks({"train": [SourceSpec(source=f"jsonl:{file}", count=1, on_bad_row="skip")]}, 0, reports)
    assert [task.prompt for task in made["train"]] == ["good"] and reports[0]["bad_rows"] == 1


def completion(text: Any, tokens: Any = 3) -> Any:
    choice = SimpleNamespace(message=SimpleNamespace(content=text), finish_reason="stop")
    return SimpleNamespace(choices=[choice], usage=SimpleNamespace(prompt_tokens=tokens, completion_tokens=1))


def test_a_servers_reply_can_be_written_priced_and_held() -> None:
    from rl2f_hub.endpoints.completion import MAX_CHARS, Failure, reduced

    assert reduced(completion("half \ud800."))["text"] == "half ?."
    long = reduced(completion("x" * (MAX_CHARS + 1)))
    assert len(long["text"]) == MAX_CHARS and long["finish_reason"] == "length"
    with pytest.raises(Failure):
        reduced(completion("x", tokens=10**400))  # times a price it would be no float


def test_text_on_a_card_hides_nothing_turns_nothing_and_links_nowhere() -> None:
    from rl2f_hub.hub.card_text import address, code, plain

    hostile = "\u202eevil\u2066 \x1b[2J\u200b https://evil.example www.evil.example [x](y) <b>\n---\nlicense: mit"
    for shown in (plain(hostile), code(hostile)):
        assert all(c.isprintable() or c == "\u2060" for c in shown) and "\n" not in shown
    assert "://" not in plain(hostile) and "www." not in plain(hostile).lower()
    assert address("https://me:hunter2@mirror", "model", "a/b") == "https://mirror/a/b"


CARDS = ["configs: [{config_name: [a]}]", 'a: !!int ""', f"a: {HUGE}", "configs: &x [*x]", "tags: &y [*y]", "- a"]


@pytest.mark.parametrize("front", CARDS)
def test_whatever_an_owner_wrote_into_a_card_it_is_merged_or_refused_in_one_line(front: str) -> None:
    from rl2f_hub.hub.card_merge import merge, sealed

    section = "[//]: # (rl2f:begin links)\n\nx\n\n[//]: # (rl2f:end links)\n"
    ours = sealed(f"---\nlicense: mit\nconfigs:\n- config_name: a\ntags:\n- t\n---\n\n{section}")
    try:
        assert "license: mit" in merge(ours, f"---\n{front}\n---\ntheirs").text
    except RL2FError as error:
        assert "README.md on the Hub" in str(error)


@pytest.mark.parametrize("pieces", [("begin", "", 35_000), ("begin", "end", 17_000)])
def test_thousands_of_sections_in_a_card_are_merged_in_one_walk(pieces: tuple[str, str, int]) -> None:
    from rl2f_hub.hub.card_merge import merge, sealed, with_section

    first, last, count = pieces
    body = f"[//]: # (rl2f:{first} links)\n" * count + (f"[//]: # (rl2f:{last} links)\n" * count if last else "")
    ours = sealed("---\na: b\n---\n\n[//]: # (rl2f:begin links)\n\nx\n\n[//]: # (rl2f:end links)\n")
    in_time(lambda: (merge(ours, body), with_section(body, "links", "y")))
    assert with_section(body, "links", "y") is None  # none of them is a section of ours


def adapter(folder: Path, weights: str = "adapter_model.safetensors", **settings: Any) -> Path:
    folder.mkdir()
    config = {"base_model_name_or_path": "me/base", "peft_type": "LORA", "target_modules": ["q"], **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / weights).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"megatron_config": {"a": 1}, "megatron_core": "antigravity"},
        {"peft_type": "XLORA", "adapters": {"0": "me/other"}},
        {"peft_type": "MULTITASK_PROMPT_TUNING"},
        {"prompt_tuning_init_state_dict_path": "/tmp/x.bin"},
    ],
)
def test_an_adapters_configuration_cannot_name_code_or_files_to_load(tmp_path: Path, settings: dict[str, Any]) -> None:
    from rl2f_hub.students.load import Origin, open_pair
    from rl2f_hub.training.phase import check_base

    folder = adapter(tmp_path / "a", **settings)
    for load in (lambda: open_pair(str(folder)), lambda: check_base(folder, Origin("me/base"))):
        with pytest.raises(RL2FError, match="names"):
            load()
    assert "antigravity" not in sys.modules


def test_a_start_whose_weights_are_a_pickle_is_refused(tmp_path: Path) -> None:
    from rl2f_hub.students.load import Origin
    from rl2f_hub.training.phase import check_base

    check_base(adapter(tmp_path / "good"), Origin("me/base"))
    with pytest.raises(RL2FError, match=r"without adapter_model\.safetensors"):
        check_base(adapter(tmp_path / "bad", "adapter_model.bin"), Origin("me/base"))
    (tmp_path / "good" / "adapter_config.json").write_text("[]")
    with pytest.raises(RL2FError, match="no JSON object"):
        check_base(tmp_path / "good", Origin("me/base"))


def test_attempts_of_equal_pieces_are_compared_in_time() -> None:
    from rl2f_hub.demo.marks import changed

    assert in_time(lambda: changed("." * 60_000, "." * 60_000 + "x")) == [("." * 60_000 + "x", True)]
    assert changed("it is 4", "it is 5") == [("it is ", False), ("5", True)]


def test_backticks_do_not_stop_the_guard() -> None:
    from rl2f_hub.records import Privilege
    from rl2f_hub.teachers.leaks import leaks_in

    assert in_time(lambda: leaks_in("`" * 49_000 + "42", Privilege("answer", "42"), ("q", "`" * 50_000)))


def test_notes_of_progress_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from rl2f_hub.runtime import progress

    console = Console(force_terminal=True, width=160, highlight=False, markup=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "console", console)
        with progress.bar("a [/b]", 1, "rows") as advance:
            advance(1, note="runs/[/x]/[red]model")
    assert "[/x]/[red]model" in capsys.readouterr().out


def test_a_token_in_a_recipe_is_refused_and_not_repeated() -> None:
    for value in ("hf_" + "a" * 34, "sk-" + "b" * 40):
        with pytest.raises(UsageError, match="looks like a token") as refused:
            load_recipe("quickstart", [f"train.grpo={{hub_token: {value}}}"])
        assert value not in str(refused.value)


def test_a_visitor_who_sends_formulas_is_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.demo import episode
    from rl2f_hub.demo.acts import Acts, Who
    from rl2f_hub.demo.visits import Pace, Visit
    from rl2f_hub.engines import Sampling
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    read: list[str] = []
    monkeypatch.setattr(episode, "_reads_as_mathematics", lambda task: bool(read.append(task.prompt)))
    acts = Acts([], [], ScriptedTeacher(), pace=Pace(1, 2))
    for _ in range(2):
        list(acts.begin(Visit(), "q", "x^2+1", Sampling(0.0, turn_tokens=4), Who()))
    with pytest.raises(UsageError, match="a lot at once"):
        list(acts.begin(Visit(), "q", "x^2+1", Sampling(0.0, turn_tokens=4), Who()))
    assert len(read) == 2


def test_a_long_right_answer_is_not_read_as_a_formula() -> None:
    from rl2f_hub.demo.episode import own_task

    assert own_task("q", "x^2+1").verifier == "math"
    assert in_time(lambda: own_task("q", "(" * 1900 + "1" + ")" * 1900)).verifier == "text"


def test_an_ipv6_network_is_one_visitor_address() -> None:
    from rl2f_hub.demo.page import _network

    assert _network("2001:db8::1") == _network("2001:db8::ffff:2") != _network("2001:db8:0:1::1")
    assert _network("::ffff:1.2.3.4") != _network("::ffff:1.2.3.5")
    assert _network("1.2.3.4") == "1.2.3.4" and len(_network("x" * 1000)) == 64


def test_names_of_others_are_given_where_a_name_stands_and_nowhere_else() -> None:
    from rl2f_hub.evaluation.output import renamed, renamed_row

    names = {"/home/me/a": "a", "jsonl:/home/me/t.jsonl": "jsonl:t.jsonl"}
    shown = renamed({"/home/me/a_minus_b": [1, None, {"s": "/home/me/a@main"}], "jsonl:/home/me/t.jsonl": 2}, names)
    assert shown == {"a_minus_b": [1, None, {"s": "a@main"}], "jsonl:t.jsonl": 2}
    row = {"model": "/home/me/a", "messages": [{"content": "/home/me/a"}], "source": "jsonl:/home/me/t.jsonl"}
    said = renamed_row(row, names)
    assert (said["model"], said["source"], said["messages"]) == ("a", "jsonl:t.jsonl", row["messages"])
