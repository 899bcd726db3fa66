"""`rl2f chat` and the episode under it, with a real adapter on a tiny random model."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rl2f_hub.demo import play
from rl2f_hub.demo.play import Player, players_of
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.records import StopReason
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.terminal import chat

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


@pytest.fixture(scope="module")
def pair(adapter: Path) -> tuple[Any, Any, bool]:
    from rl2f_hub.students.load import open_pair

    return open_pair(str(adapter))


@pytest.fixture
def players(pair: tuple[Any, Any, bool]) -> list[Player]:
    return players_of(*pair)


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
        monkeypatch.setattr(play, "players_of", lambda *pair: made)
        return made

    return make


def test_a_whole_visit(visit: Callable[..., str]) -> None:
    out = visit("What is 2 * 3?", "6", "the units are too low", "/teacher", "/new", "/task", "/help")
    assert "Base" in out
    assert "RL2F" in out
    assert "attempt 3 of 8" in out
    assert "Teacher to Base:" in out
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
        (("/teacher",), "no attempt yet"),
        (("/nonsense",), "/nonsense is no command"),
        (("Why?", "", "/teacher"), "no reference"),
        (("x" * 4_001,), "up to 4,000 fit"),
        (("Why?", "", "y" * 4_001), "up to 4,000 fit"),
        (("Why?", "", ""), "no feedback yet"),
    ],
)
def test_what_cannot_be_done_is_said(visit: Callable[..., str], lines: tuple[str, ...], answer: str) -> None:
    assert answer in " ".join(visit(*lines).split())


def test_without_a_reference_nothing_is_judged(visit: Callable[..., str]) -> None:
    out = visit("Why?", "", "say more")
    assert "? not checked" in out
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


def test_the_students_never_see_the_reference(players: list[Player]) -> None:
    episode = play.start(players, play.own_task("Name two animals.", "zebra quagga"))
    for _ in range(3):
        for player, rollout in zip(players, episode.rollouts, strict=True):
            play.attempt(player, rollout, SHORT)
            said = play.ask_teacher(ScriptedTeacher(), rollout)
            assert said is not None
            play.tell(player, rollout, said)
    for player, rollout in zip(players, episode.rollouts, strict=True):
        assert "quagga" not in player.student.chat.tokenizer.decode(rollout.ledger.ids)
        assert "quagga" not in str(play.seen_by_student(rollout))
        assert play.known_to_teacher(episode, rollout)["reference"] == "zebra quagga"


def _two_turns(player: Player, prompt: str, between: Callable[[], None] = lambda: None) -> list[int]:
    episode = play.start([player], play.own_task(prompt, "6"))
    rollout = episode.rollouts[0]
    play.attempt(player, rollout, SHORT)
    between()
    play.tell(player, rollout, play.words_of("no, too low"))
    play.attempt(player, rollout, SHORT)
    return rollout.ledger.ids


def test_base_and_adapter_are_what_they_say(players: list[Player], make_model: Callable[..., Any], pair: Any) -> None:
    """The base player answers like the base model alone, the other one does not, in any order of calls."""
    (alone,) = players_of(make_model().eval(), pair[1], False)
    base, tuned = players
    expected = _two_turns(alone, "What is 2 * 3?")
    assert _two_turns(base, "What is 2 * 3?") == expected
    tuned_ids = _two_turns(tuned, "What is 2 * 3?", between=lambda: _two_turns(base, "Another?") and None)
    assert tuned_ids != expected
    assert _two_turns(base, "What is 2 * 3?", between=lambda: _two_turns(tuned, "Another?") and None) == expected


def test_a_lost_cache_changes_nothing(players: list[Player]) -> None:
    kept = _two_turns(players[1], "What is 2 * 3?")
    assert _two_turns(players[1], "What is 2 * 3?", between=players[1]._open.clear) == kept


def test_a_failed_attempt_can_be_made_again(players: list[Player], monkeypatch: pytest.MonkeyPatch) -> None:
    player = players[1]
    expected = _two_turns(player, "What is 2 * 3?")
    episode = play.start([player], play.own_task("What is 2 * 3?", "6"))
    rollout = episode.rollouts[0]
    play.attempt(player, rollout, SHORT)
    play.tell(player, rollout, play.words_of("no, too low"))
    session = player._open[rollout.seed].session
    with monkeypatch.context() as patch:
        patch.setattr(session, "_draw", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            play.attempt(player, rollout, SHORT)
    play.attempt(player, rollout, SHORT)
    assert rollout.ledger.ids == expected


def test_a_full_context_ends_the_dialogue(players: list[Player]) -> None:
    episode = play.start(players[:1], play.own_task("Count. " * 400, "6"))
    play.attempt(players[0], episode.rollouts[0], SHORT)
    assert episode.rollouts[0].stop_reason is StopReason.CONTEXT_FULL


def test_the_last_attempt_ends_the_dialogue(scripted: Callable[..., Any]) -> None:
    (player,) = scripted(Base=["5"])
    episode = play.start([player], play.own_task("What is 2 * 3?", "6"))
    rollout = episode.rollouts[0]
    for turn in range(play.MAX_TURNS):
        assert rollout.stop_reason is None
        if turn:
            play.tell(player, rollout, play.words_of("no"))
        play.attempt(player, rollout, SHORT)
    assert rollout.stop_reason is StopReason.TURN_LIMIT


def test_the_examples_have_the_right_answers() -> None:
    import math

    primes = sum(all(n % d for d in range(2, 13)) for n in range(100, 151))
    answers = [23 * 34, 47 * 68, 348 + 577 - 219, 8147 % 53, primes, math.lcm(84, 126)]
    assert [int(t.privilege.reference) for t in play.EXAMPLES] == answers


def test_a_task_needs_words() -> None:
    with pytest.raises(UsageError, match="no task yet"):
        play.own_task("  ")


def test_importing_needs_neither_gradio_nor_torch() -> None:
    code = "import sys, rl2f_hub.terminal, rl2f_hub.demo; print(sorted({'gradio', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
