"""`rl2f chat` and the episode under it, with a real adapter on a tiny random model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rl2f_hub.demo import play, players
from rl2f_hub.demo.players import Player
from rl2f_hub.demo.terminal import chat
from rl2f_hub.engines import Sampling

SHORT = Sampling(temperature=0.0, turn_tokens=12)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Any], tokenizer: Any) -> Path:
    """The folder of a saved adapter whose weights are not zero, on a saved base."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("student")
    model = make_model()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model.name_or_path = model.config._name_or_path = str(folder / "base")
    tuned = get_peft_model(model, config)
    tuned.peft_config["default"].base_model_name_or_path = str(folder / "base")
    tuned.save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.fixture
def visit(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Types the given lines into a chat, then Ctrl-D (or what `end` says); gives what was shown."""
    monkeypatch.setattr(play, "GREEDY", SHORT)

    def run(*lines: str, end: type[BaseException] = EOFError, **options: Any) -> str:
        waiting: Iterator[str] = iter(lines)

        def ask(prompt: str) -> str:
            try:
                return next(waiting)
            except StopIteration:
                raise end from None

        shown = io.StringIO()
        chat(str(adapter), console=Console(file=shown, width=100), ask=ask, **options)
        return shown.getvalue()

    return run


@pytest.fixture
def scripted(saying: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Player]]:
    """Players that say given texts instead of the adapter's two, in the chat as well."""

    def make(**texts: list[str]) -> list[Player]:
        made = [Player(label, "scripted", saying(says)) for label, says in texts.items()]
        monkeypatch.setattr(players, "players_of", lambda *pair: made)
        return made

    return make


def test_a_whole_visit(visit: Callable[..., str]) -> None:
    out = visit("What is 2 * 3?", "6", "the units are too low", "/teacher", "/self", "/new", "/task", "/help")
    assert "Base" in out
    assert "RL2F" in out
    assert "attempt 4 of 8" in out
    assert "Teacher to Base:" in out
    assert "Its own critique to RL2F:" in out
    assert "Task: " in out
    assert out.count("✗ wrong") >= 8  # three attempts of two players, then the first ones at a random task
    assert out.rstrip().endswith("Bye.")


def test_ctrl_c_and_quit_end_cleanly(visit: Callable[..., str]) -> None:
    assert visit(end=KeyboardInterrupt).rstrip().endswith("Bye.")
    assert visit("/quit", "never read").rstrip().endswith("Bye.")


def test_the_adapter_alone(visit: Callable[..., str]) -> None:
    out = visit("What is 2 * 3?", "6", compare_base=False)
    assert "RL2F" in out
    assert "Base" not in out


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (("/teacher",), "Nobody has tried yet"),
        (("/save",), "needs the name of a file"),
        (("What is 2 * 3?", "6", "/save /nowhere/x.json"), "cannot be written"),
        (("/nonsense",), "/nonsense is no command"),
        (("Why?", "", "/teacher"), "no right answer to compare with"),
        (("Why?", "", "/mislead"), "Nobody can be misled"),
        (("x" * 4_001,), "up to 4,000 fit"),
        (("Why?", "", "y" * 4_001), "up to 4,000 fit"),
        (("Why?", "", ""), "no feedback yet"),
    ],
)
def test_what_cannot_be_done_is_said(visit: Callable[..., str], lines: tuple[str, ...], answer: str) -> None:
    assert answer in " ".join(visit(*lines).split())


def test_without_a_reference_nothing_is_judged(visit: Callable[..., str]) -> None:
    out = visit("Why?", "", "say more")
    assert "? unknown: no right answer" in out
    assert "wrong" not in out


def test_model_text_cannot_act_on_the_terminal(visit: Callable[..., str], scripted: Callable[..., Any]) -> None:
    scripted(Base=["\x1b[2J\x07[bold red]x[/] [link=http://a]7"])
    out = visit("What is 2 * 3?", "6")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold red]x[/] [link=http://a]7" in out


def test_who_is_right_is_left_alone(visit: Callable[..., str], scripted: Callable[..., Any]) -> None:
    scripted(Base=["5", "5", "6"], RL2F=["5", "6", "never said"])
    out = visit("What is 2 * 3?", "6", "too low", "still too low")
    assert "✗ wrong: 5 (a repeat)" in out
    assert "attempt 2 of 8, solved" in out
    assert "attempt 3 of 8, solved" in out
    assert "never said" not in out
    assert "This task is over" in out


def test_a_right_answer_can_be_doubted(visit: Callable[..., str], scripted: Callable[..., Any]) -> None:
    scripted(Base=["6", "5"], RL2F=["6", "6"])
    out = visit("What is 2 * 3?", "6", "/teacher", "/mislead")
    assert "This task is over: /task for another one" in " ".join(out.split())
    assert "Misleading to Base:" in out
    assert "(gave in)" in out
    assert "(held on)" in out


def test_a_dialogue_is_saved(visit: Callable[..., str], scripted: Callable[..., Any], tmp_path: Path) -> None:
    scripted(Base=["5"], RL2F=["6"])
    visit("What is 2 * 3?", "6", f"/save {tmp_path / 'd.json'}")
    saved = json.loads((tmp_path / "d.json").read_text())
    assert saved["task"] == "What is 2 * 3?"
    assert [p["solved_at"] for p in saved["players"].values()] == [0, 1]


def test_ctrl_c_stops_an_attempt_and_leaves_the_dialogue(
    visit: Callable[..., str], scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(Base=["5"], RL2F=["7"])
    real, calls = play.take_turns, []

    def interrupted(*args: Any, **options: Any) -> Iterator[Any]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        yield from real(*args, **options)

    monkeypatch.setattr(play, "take_turns", interrupted)
    out = visit("What is 2 * 3?", "6", "no", "no")
    assert "Stopped; the dialogue is as it was." in out
    assert "attempt 2 of 8" in out
    assert "attempt 3 of 8" not in out


def test_ten_tasks(visit: Callable[..., str], scripted: Callable[..., Any]) -> None:
    scripted(Base=["5"], RL2F=["7"])
    assert "Base     solved by attempt 1, 2, …, %:    0    0    0    0    0    0" in visit("/batch")


def test_importing_needs_neither_gradio_nor_torch() -> None:
    code = "import sys, rl2f_hub.demo.terminal, rl2f_hub.demo; print(sorted({'gradio', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
