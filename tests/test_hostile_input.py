"""Input from outside that once ended in a traceback, a leak or a hang: recipes, rows, replies, cards, adapters."""

from __future__ import annotations

import json
import subprocess
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
    from rl2f_hub.hub.connect import open_hub_of
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


FORMULAS = {
    "9^{9^{9^9}}": True, "9**9**9": True, "(9^{999})^{999}": True, "99999999!": True, "3!!": True, "9^-{9^9}": True,
    "9^9" + "^9" * 900: True, "9^{" * 1000: True, "x^{9^{9^9}}": True, "9^{99\\cdot 9999999}": True,
    "10^{100}": False, "100!": False, "2^{2^{10}}": False, "3^{2008}-1": False, "e^{-x^2/2}": False, "2^n": False,
    "+".join(f"x^{{{i}}}" for i in range(30)): False, "(x+1)^2(x-2)^3(x^2+1)^4": False,
}  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda text: text[:20])
def test_a_formula_of_a_number_without_end_is_not_read(formula: str) -> None:
    from rl2f_hub.verify.magnitude import is_too_large

    assert in_time(lambda: is_too_large(formula)) is FORMULAS[formula]


def test_references_without_end_keep_no_judge_busy() -> None:
    from rl2f_hub.demo.episode import own_task

    assert in_time(lambda: [own_task("q", f"{n}^{{9^{{9^9}}}}").verifier for n in range(2, 8)]) == ["text"] * 6


def test_who_kept_the_judge_busy_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.demo import episode
    from rl2f_hub.demo.acts import Acts, Who
    from rl2f_hub.demo.visits import Visit
    from rl2f_hub.engines import Sampling
    from rl2f_hub.teachers.scripted import ScriptedTeacher
    from rl2f_hub.verify.limited import TooSlow

    class Slow:
        def check(self, task: Any) -> None:
            raise TooSlow

    monkeypatch.setattr(episode, "named", lambda name: Slow())
    acts = Acts([], [], ScriptedTeacher())
    play = lambda who: list(acts.begin(Visit(), "q", "x^2+1", Sampling(0.0, turn_tokens=4), Who(who, who)))  # noqa: E731
    with pytest.raises(UsageError, match="too hard to read"):
        play("a")
    with pytest.raises(UsageError, match="a lot at once"):
        play("a")
    with pytest.raises(UsageError, match="too hard to read"):
        play("b")


def test_a_burst_of_one_visitor_takes_one_place_before_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.demo.acts import Acts, Who
    from rl2f_hub.demo.visits import Visit
    from rl2f_hub.engines import Sampling
    from rl2f_hub.teachers.scripted import ScriptedTeacher
    from rl2f_hub.verify import limited

    reading, go, judges = threading.Semaphore(0), threading.Event(), limited.Judges(2)

    def check(self: Any, task: Any) -> None:
        if task.prompt == "burst":
            reading.release()
            go.wait(60)

    monkeypatch.setattr(limited.LimitedChild, "check", check)
    monkeypatch.setattr(limited, "shared", lambda: judges)
    acts = Acts([], [], ScriptedTeacher())

    def play(who: str, prompt: str) -> None:
        list(acts.begin(Visit(), prompt, "x^2+1", Sampling(0.0, turn_tokens=4), Who(who, "one address")))

    first = threading.Thread(target=play, args=("a", "burst"), daemon=True)
    first.start()
    assert reading.acquire(timeout=60)

    def refused() -> None:
        with pytest.raises(UsageError, match="still being read"):
            play("a", "burst")

    for _ in range(6):  # none of them waits for a judge, or keeps a thread of the page
        in_time(refused)
    in_time(lambda: play("b", "quick"))
    assert first.is_alive()
    go.set()
    first.join(60)
    in_time(lambda: play("a", "quick"))


def test_one_busy_judge_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl2f_hub.verify import limited

    busy, go = threading.Event(), threading.Event()

    def check(self: Any, task: Any) -> None:
        if task == "slow":
            busy.set()
            go.wait(60)

    monkeypatch.setattr(limited.LimitedChild, "check", check)
    judges: Any = limited.Judges()
    thread = threading.Thread(target=lambda: judges.check("slow"), daemon=True)
    thread.start()
    assert busy.wait(60)
    in_time(lambda: judges.check("quick"))
    assert thread.is_alive()
    go.set()
    thread.join(60)


@pytest.mark.parametrize(
    "field",
    [
        *("output_dir: /tmp/x", "trust_remote_code: true", "hub_model_id: other/x", "hub_private_repo: false"),
        *("run_name: x", "hub_token: x", "trackio_space_id: other/x", "log_completions_hub_repo: other/x"),
        *("deepspeed: /etc/passwd", "resume_from_checkpoint: /tmp/x", "model_init_kwargs: {}", "fsdp_config: /x"),
        *("vllm_server_host: evil", "report_to: wandb", "report_to: all", "report_to: [trackio, mlflow]"),
        *("accelerator_config: /x", "seed: 3"),
    ],
)
def test_a_recipe_cannot_take_over_what_the_pipeline_owns(field: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_recipe("quickstart", [f"train.grpo={{{field}}}"])
    assert f"train.grpo: {field.partition(':')[0]}: " in str(refused.value) and "is refused" in str(refused.value)


def test_the_fields_that_a_recipe_may_set_are_trls() -> None:
    from dataclasses import fields

    from trl import GRPOConfig

    from rl2f_hub.recipe.grpo_fields import GRPO_FIELDS

    assert {field.name for field in fields(GRPOConfig)} >= GRPO_FIELDS
    listed = (Path(__file__).parents[1] / "docs" / "gpu.md").read_text()
    assert all(f"`{name}`" in listed for name in GRPO_FIELDS)
    assert load_recipe("quickstart", ["train.grpo={report_to: [trackio], push_to_hub: true, beta: 0.1}"]).train.grpo


def test_a_recipe_takes_no_tasks_from_outside_its_folder_unless_that_is_allowed(tmp_path: Path) -> None:
    import yaml

    from rl2f_hub.recipe.reading import recipe_files
    from rl2f_hub.runtime import permits

    folder, secret = tmp_path / "recipe", tmp_path / "secret.csv"
    folder.mkdir()
    secret.write_text("prompt,reference\na,1\n")
    (folder / "link.csv").symlink_to(secret)
    (folder / "own.csv").write_text("prompt,reference\na,1\n")
    data = yaml.safe_load(next(f for f in recipe_files() if f.parent.name == "quickstart").read_text())

    def load(source: str, *overrides: str) -> Any:
        mix = {**data["tasks"], "train": [{"source": source, "count": 1}]}
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**data, "tasks": mix}))
        return load_recipe(folder, overrides)

    outside = [f"csv:{secret}", f"csv:{folder}/../secret.csv", f"csv:{folder}/link.csv", "jsonl:/etc/passwd"]
    for source in outside:
        with pytest.raises(UsageError, match="allow-outside-files") as refused:
            load(source)
        assert "tasks.train.0.source" in str(refused.value)
        assert load(f"csv:{folder}/own.csv", f"tasks.train.0.source={source}")  # the user typed it
        with permits.allowing(outside_files=True):
            assert load(source)


def test_the_flag_for_files_from_outside_is_one_of_the_command_line(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe" / "recipe.yaml"
    recipe.parent.mkdir()
    (tmp_path / "secret.csv").write_text("prompt,reference\na,1\n")
    outside, own = f"[{{source: 'csv:{tmp_path}/secret.csv', count: 1}}]", "[{source: 'reasoning_gym:lcm', count: 4}]"
    recipe.write_text(
        f"name: x\nhub: {{dataset: d, adapter: a}}\nmodel: {{id: m}}\ntasks: {{train: {outside}, eval: {own}}}\n"
    )

    def rl2f(*before: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rl2f_hub", *before, "recipes", "show", str(recipe)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    refused = rl2f()
    assert (refused.returncode, refused.stdout) == (2, "")
    (said,) = refused.stderr.splitlines()
    assert said.startswith("error: tasks.train.0.source: ")
    assert "`rl2f --allow-outside-files ...`" in said
    allowed = rl2f("--allow-outside-files")
    assert allowed.returncode == 0, allowed.stderr
    assert "secret.csv" in allowed.stdout


def test_a_long_number_of_base_60_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("seed: " + "1:" * 200_000 + "1\n")
    for load in (
        lambda: load_recipe(file),
        lambda: load_recipe("quickstart", ["seed=" + "1:" * 200_000 + "1"]),
        lambda: load_recipe("quickstart", ["seed=" + "1:" * 300_000 + "1"]),
    ):
        with pytest.raises(UsageError) as refused:
            load()
        assert len(str(refused.value)) < 400
    file.write_text("#" * 600_000)
    with pytest.raises(UsageError, match="longer than"):
        load_recipe(file)


def test_both_parsers_of_pyyaml_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    from rl2f_hub.recipe.reading import recipe_files
    from rl2f_hub.runtime.yaml_reader import read_yaml

    texts = [file.read_text() for file in recipe_files()]
    texts += [
        "a: 1e5\nb: 2024-01-01\nc: no\nd: 010\ne: .5\nf: !!float 3\ng: 0x1f\nh: '5'\ni: -.inf\nj: [&x {y: 1}, *x]"
    ]
    texts += [
        yaml.safe_dump([1, -2.5, 1e-9, None, True, "1e5", "08", "1_000", "yes", "0o7", "~", "1:30", "2024-01-01"])
    ]
    for text in texts:
        both = []
        for libyaml in (True, False):
            monkeypatch.setattr(yaml, "__with_libyaml__", libyaml)
            both.append(read_yaml(text))
        assert both[0] == both[1]
        assert text.startswith("a: 1e5") or both[0] == yaml.safe_load(text)


def test_an_out_that_is_a_file_and_an_overwrite_of_a_link_are_refused(tmp_path: Path) -> None:
    from rl2f_hub.runs import Run

    recipe = load_recipe("quickstart")
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"--out: .* is a file"):
            Run.open(recipe, folder, overwrite=True)
    Run.open(recipe, tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="symbolic link"):
        Run.open(recipe, tmp_path / "link", overwrite=True)
    assert (tmp_path / "real" / "manifest.json").is_file()


CONFIGS: list[Any] = [
    *({"hidden_size": size} for size in (-1, 0, "x", None, 10**12, 17)),
    *({"num_attention_heads": heads} for heads in (0, 3)),
    *({"num_hidden_layers": layers} for layers in (-1, "2", 10**9)),
    *({"vocab_size": size} for size in (0, 10**12, [1])),
    *({"dtype": "evil"}, {"model_type": 5}, {"model_type": "nothing"}, {"hidden_act": "evil"}, {"hidden_act": 5}),
    *({"rope_scaling": "x"}, {"rope_scaling": {"type": "evil"}}, {"rope_parameters": {"rope_type": "evil"}}),
    *({"pad_token_id": 10**9}, {"pad_token_id": "x"}, {"eos_token_id": "x"}, {"auto_map": 5}, {"id2label": 5}),
    *({"max_position_embeddings": -4}, {"rms_norm_eps": "x"}, {"num_key_value_heads": 0}, {"head_dim": 0}),
    *({"quantization_config": settings} for settings in ("x", {}, [1])),
    *("[]", "null", "{", "\x00", '{"a":' * 5000),
]


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    folder = tmp_path_factory.mktemp("odd") / "base"
    LlamaForCausalLM(LlamaConfig(vocab_size=20, max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return folder


def test_odd_values_in_a_models_configuration_are_refused_in_one_line(small_base: Path) -> None:
    from rl2f_hub.students.load import Origin, load_model

    file = small_base / "config.json"
    good = file.read_text()
    load_model(Origin(str(small_base)))
    for odd in CONFIGS:
        file.write_text(odd if isinstance(odd, str) else json.dumps({**json.loads(good), **odd}))
        with pytest.raises(RL2FError, match=r"model .*base"):
            load_model(Origin(str(small_base)))
    for method in ("gptq", "awq"):
        file.write_text(json.dumps({**json.loads(good), "quantization_config": {"quant_method": method, "bits": 4}}))
        with pytest.raises(RL2FError, match=rf"quantised already \({method}\)"):
            load_model(Origin(str(small_base)))
    file.write_text(good)


def test_the_page_answers_this_machine_only_and_names_wrong_values() -> None:
    import http.client
    from urllib.parse import urlsplit

    from rl2f_hub.demo import build_demo, launch_settings
    from rl2f_hub.demo.players import tiny_players

    served = build_demo(tiny_players())
    _, address, _ = served.launch(prevent_thread_lock=True, quiet=True, **launch_settings())
    here = urlsplit(address).netloc

    def ask(method: str, path: str, host: str = here, body: Any = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(here, timeout=120)
        connection.request(method, path, body and json.dumps(body), {"Host": host, "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def call(name: str, *values: Any) -> str:
        status, text = ask("POST", f"/gradio_api/call/{name}", body={"data": list(values)})
        assert status == 200, text
        return ask("GET", f"/gradio_api/call/{name}/{json.loads(text)['event_id']}")[1]

    try:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]:80"):
            for path in ("/", "/config", "/gradio_api/info"):
                assert ask("GET", path, host)[0] == 421, (host, path)
        for host in (here, "localhost", "LOCALHOST:1", "[::1]:7860", "127.0.0.1"):
            assert ask("GET", "/config", host)[0] == 200, host
        for values, word in (
            ((5, "1", 0.0, 4), "prompt: 5"),
            (("q", {"a": 1}, 0.0, 4), "reference: {"),
            (("q", "1", "hot", 4), "temperature: 'hot'"),
            (("q", "1", 0.0, [4]), "tokens: [4]"),
            (("q", "1", True, 4), "temperature: True"),
            (("q", "1", 0.0, 4.5), "tokens: 4.5"),
            ((None, "1", 0.0, 4), "prompt: None"),
        ):
            answer = call("attempt", *values)
            assert "event: error" in answer and word in answer, answer
        for name, values in (("feedback", (["x"], "w")), ("export", ({},)), ("take_back", (7,)), ("tasks", (3,))):
            answer = call(name, *values)
            assert "event: error" in answer and "is not a text" in answer, answer
    finally:
        served.close(verbose=False)
