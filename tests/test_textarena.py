"""Games as tasks: the same for ever, winnable, forgiving of bad moves, silent about secrets; the world is the teacher."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("textarena")

from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Dialogue, StopReason, Task
from rl2f_hub.tasks import load_tasks, request_for, stream
from rl2f_hub.tasks.textarena import SUPPORTED, TextArena
from rl2f_hub.tasks.textarena import moves as reading
from rl2f_hub.tasks.textarena.match import open_match
from rl2f_hub.tasks.textarena.words import SPOKEN, common, plain
from rl2f_hub.tasks.validate import validate
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.guard import Guard, find_leaks
from rl2f_hub.verify import replay, verify, verify_many

Make = Callable[..., Any]
FOUR = ("FrozenLake-v0", "Wordle-v0", "KuhnPoker-v0", "SimpleNegotiation-v0")
FAMILIES = tuple({game: name for name, game in reversed(SUPPORTED.items())}.values())
JUNK = ["", "   ", "I do not know.", "[", "[]", "[perhaps]", "[9999 9999]", "[offer]", "\x00\ud7ff", "none of them!"]


def draw(name: str, count: int = 1, seed: int = 0, **config: Any) -> list[Task]:
    source = SourceSpec(source=f"textarena:{name}", count=count, config=config)
    return list(islice(stream(request_for(source, seed=seed)), count))


def line(task: Task) -> list[str]:
    return task.privilege.solution.splitlines()


# What a task is


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_task_is_won_by_its_solution_and_by_nothing_shorter(name: str) -> None:
    for task in draw(name, 2):
        moves = line(task)
        assert task.verifier == "environment"
        assert task.domain == ("negotiation" if "Negotiation" in name else "games")
        assert task.privilege.kind == "solution"
        for end in range(1, len(moves) + 1):
            verdict = replay(TextArena(), task, moves[:end])
            assert verdict.correct is (end == len(moves))
            assert (verdict.score == 1.0) is verdict.correct
            assert 0 <= verdict.score <= 1
            assert verdict.answer == moves[end - 1]
            assert verdict.observation
            assert not verdict.final


@pytest.mark.parametrize("name", FAMILIES)
def test_an_item_is_the_same_for_ever_and_another_seed_gives_another(name: str) -> None:
    first, again = draw(name, 4, seed=3), draw(name, 4, seed=3)
    assert first == again
    assert [t.task_id for t in first] != [t.task_id for t in draw(name, 4, seed=4)]
    assert {t.prompt for t in first}.isdisjoint(t.prompt for t in draw(name, 4, seed=4))
    assert [Task.from_row(t.to_row()) for t in first] == first


def test_a_stored_task_plays_as_the_fresh_one() -> None:
    for name in FOUR:
        (task,) = draw(name)
        stored = Task.from_row(json.loads(json.dumps(task.to_row())))
        assert replay(TextArena(), stored, line(task)) == replay(TextArena(), task, line(task))


def test_the_prompt_holds_the_rules_and_not_the_secret() -> None:
    for name in FAMILIES:
        (task,) = draw(name)
        assert re.search(r"\(Game \d{6}\)$", task.prompt)
        assert "\n\n\n" not in task.prompt
        secret = task.privilege.reference
        if secret and not secret.isdigit():
            assert secret.casefold() not in task.prompt.casefold()


def test_two_tasks_of_a_game_read_the_same_exactly_when_they_are_the_same_game() -> None:
    """Wordle shows nothing of its word: the number of the game tells tasks apart, and finds repetitions."""
    tasks = draw("Wordle-v0", 600)
    by_prompt: dict[str, set[str]] = {}
    for task in tasks:
        by_prompt.setdefault(task.prompt, set()).add(task.privilege.reference)
    assert all(len(words) == 1 for words in by_prompt.values())
    assert len(by_prompt) == len({t.privilege.reference for t in tasks}) < 600


def test_splits_share_no_secret() -> None:
    spec = {s: [SourceSpec(source="textarena:Wordle-v0", count=40)] for s in ("train", "eval")}
    splits = load_tasks(spec, 5)
    words = {s: {t.privilege.reference for t in tasks} for s, tasks in splits.items()}
    assert len(words["train"]) == len(words["eval"]) == 40
    assert words["train"].isdisjoint(words["eval"])


def test_a_source_with_one_game_says_so() -> None:
    with pytest.raises(UsageError, match="has only 1 tasks"):
        load_tasks({"train": [SourceSpec(source="textarena:TowerOfHanoi-v0", count=2)]}, 0)
    wide = SourceSpec(source="textarena:Countdown-v0", count=5, config={"numbers": None, "target": None})
    assert len(load_tasks({"train": [wide]}, 0)["train"]) == 5


# Determinism

CHILD = """
import hashlib, socket, sys
import rl2f_hub.dialogue.runner, rl2f_hub.tasks, rl2f_hub.tasks.textarena, rl2f_hub.verify
assert not {"textarena", "nltk", "openai"} & set(sys.modules), "imported before it was needed"
def refuse(*_, **__): raise OSError("no network in this test")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from itertools import islice
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.tasks.textarena import SUPPORTED, TextArena
from rl2f_hub.verify import replay
from rl2f_hub.verify import replay
names = list({game: name for name, game in SUPPORTED.items()}.values())
if sys.argv[1] == "backwards": names.reverse()
out = []
for name in names:
    for task in islice(stream(request_for(SourceSpec(source="textarena:" + name, count=2), seed=1)), 2):
        moves = task.privilege.solution.splitlines()
        out.append(repr((task, [replay(TextArena(), task, moves[:n]) for n in range(1, 1 + min(4, len(moves)))])))
assert "openai" not in sys.modules
print(hashlib.sha256("".join(sorted(out)).encode()).hexdigest())
"""


def test_another_process_without_network_shows_the_same_words() -> None:
    """In another order, with another hash seed: nothing hangs on sets, on what ran before, or on downloads."""
    digests = set()
    for order, hash_seed in (("forwards", "1"), ("backwards", "2")):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, order], capture_output=True, text=True, env=env, timeout=900
        )
        assert done.returncode == 0, done.stderr[-2000:]
        digests.add(done.stdout.strip())
    assert "\n" not in min(digests), "a game prints"
    assert len(digests) == 1


@pytest.mark.parametrize("name", FOUR)
def test_replays_neither_heed_nor_disturb_the_global_generator(name: str) -> None:
    (task,) = draw(name)
    random.seed(11)
    expected = [random.random() for _ in range(3)]
    random.seed(11)
    got, verdicts = [], set()
    for _ in range(3):
        got.append(random.random())
        verdicts.add(replay(TextArena(), task, line(task)[:1]))
    assert got == expected
    assert len(verdicts) == 1


def test_games_in_threads_do_not_mix() -> None:
    """Kuhn poker shuffles with the global generator at every round: 24 games at once, switching all the time."""
    tasks = [task for name in ("KuhnPoker-v0-medium", "FrozenLake-v0") for task in draw(name, 12)]
    alone = [replay(TextArena(), task, line(task)) for task in tasks]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                assert list(pool.map(lambda t: replay(TextArena(), t, line(t)), tasks)) == alone
    finally:
        sys.setswitchinterval(interval)


def test_numbers_drawn_while_a_module_is_imported_change_nothing() -> None:
    """The first game of a process pays for the imports; it must be the game that it is later."""
    game = SUPPORTED["FrozenLake-v0"]
    built: list[int] = []

    def build(**params: Any) -> Any:
        if not built:
            random.random()
        built.append(1)
        assert game.build
        return game.build(**params)

    first = open_match("FrozenLake-v0", replace(game, build=build), {}, 5, 5)
    assert first.opening == open_match("FrozenLake-v0", game, {}, 5, 5).opening


# Reading moves


@pytest.mark.parametrize(
    ("name", "attempt", "move"),
    [
        ("FrozenLake-v0", "[right]", "[right]"),
        ("FrozenLake-v0", "Left is a hole, up a wall. So I go down", "[down]"),
        ("FrozenLake-v0", "First [right]? No: [ DOWN ] it is, then right.", "[down]"),
        ("FrozenLake-v0", "d", "[right]"),
        ("FrozenLake-v0", "[d]", "[right]"),
        ("FrozenLake-v0", "a hole is on the left side", "[left]"),
        ("FrozenLake-v0", "a hole", None),
        ("FrozenLake-v0", "upright", None),
        ("Wordle-v0", "Perhaps [crane], no, [Slate].", "[slate]"),
        ("Wordle-v0", "My guess is crane.", "[crane]"),
        ("Wordle-v0", "[lamp]", "[lamp]"),
        ("Wordle-v0", "Hm, what is it? No idea.", None),
        ("KuhnPoker-v0", "I should not fold; I call.", "[call]"),
        ("KuhnPoker-v0", "[Bet]", "[bet]"),
        ("KuhnPoker-v0", "That would be better.", None),
        ("GuessTheNumber-v0", "Between 1 and 20, so 10.", "[10]"),
        ("GuessTheNumber-v0", "[7] rather than 8", "[7]"),
        ("GuessTheNumber-v0", "-7", None),
        ("GuessTheNumber-v0", "1.5", None),
        ("Mastermind-v0", "1, 2, 3, 4", "[1 2 3 4]"),
        ("Mastermind-v0", "[1 2 3 4 5]", None),
        ("ConnectFour-v0", "[col 3]", "[col 3]"),
        ("ConnectFour-v0", "column 3", "[col 3]"),
        ("GameOfPureStrategy-v0", "[q]", "[Q]"),
        ("GameOfPureStrategy-v0", "A high prize: 10", "[10]"),
        ("TowerOfHanoi-v0", "A -> C", "[A C]"),
        ("TowerOfHanoi-v0", "move a disk: [a, b]", "[A B]"),
        ("TowerOfHanoi-v0", "a b", None),
        ("Countdown-v0", "[0 2 *]", "[0 2 *]"),
        ("Hangman-v0", "I try\ne", "[E]"),
        ("Hangman-v0", "[lemon]", "[LEMON]"),
        ("Hangman-v0", "I have no idea", None),
        ("SimpleNegotiation-v0", "[Offer: 3 sheep, 2 Ore -> 5 brick]", "[Offer: 3 Sheep, 2 Ore -> 5 Brick]"),
        ("SimpleNegotiation-v0", "Good price!\nOffer: 1 Wood -> 1 Ore.", "[Offer: 1 Wood -> 1 Ore]"),
        ("SimpleNegotiation-v0", "[accept] [Offer: 1 Wood -> 1 Ore]", "[Offer: 1 Wood -> 1 Ore]"),
        ("SimpleNegotiation-v0", "I accept that.", None),
        ("SimpleNegotiation-v0", "[Offer: 1 Gold -> 1 Ore]", None),
        ("SimpleNegotiation-v0", "[Offer: 0 Wood -> 1 Ore]", None),
        ("SimpleNegotiation-v0", "[Offer: 1 Wood]", None),
    ],
)
def test_the_last_move_counts_and_brackets_go_before_bare_words(name: str, attempt: str, move: str | None) -> None:
    (task,) = draw(name)
    assert replay(TextArena(), task, [attempt]).answer == move


def test_quoting_the_question_is_no_move() -> None:
    """The rules hold examples of moves, and an example may happen to be the right one."""
    for name in FAMILIES:
        (task,) = draw(name)
        assert replay(TextArena(), task, [task.prompt]).answer is None


@pytest.mark.parametrize("text", ["[" * 50_000, "1 " * 50_000, "[offer: " * 9_000, "[1" + " " * 60_000, "a" * 90_000])
def test_long_hostile_text_is_read_in_linear_time(text: str) -> None:
    """With a pattern that backtracks, these would take minutes: the suite's own time limit is the judge."""
    for name in FAMILIES:
        (task,) = draw(name)
        verdict = replay(TextArena(), task, [text])
        assert not verdict.correct
        assert not verdict.final, "an unreadable move costs a turn and ends no game"


# Bad moves


@pytest.mark.parametrize("name", FAMILIES)
def test_what_cannot_be_read_costs_nothing_in_the_game(name: str) -> None:
    """textarena ends a game at the second bad move in a row; here a won game is still won."""
    (task,) = draw(name)
    padded = [attempt for move in line(task) for attempt in (*JUNK[:5], move)]
    assert replay(TextArena(), task, padded).correct
    verdict = replay(TextArena(), task, JUNK[:3])
    assert (verdict.correct, verdict.final, verdict.answer) == (False, False, None)
    assert SUPPORTED[name].looks in verdict.observation


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("FrozenLake-v0", "[up]"),
        ("Wordle-v0", "[qqqqq]"),
        ("KuhnPoker-v0", "[call]"),
        ("SimpleNegotiation-v0", "[Offer: 999 Ore -> 1 Wood]"),
        ("TicTacToe-v0", "[17]"),
        ("GuessTheNumber-v0", "[4000]"),
        ("Mastermind-v0", "[1 1 1 1]"),
        ("Sudoku-v0-easy", "[77 1 1]"),
        ("Countdown-v0", "[9 9 +]"),
    ],
)
def test_a_forbidden_move_is_named_and_changes_nothing(name: str, bad: str) -> None:
    (task,) = draw(name)
    verdict = replay(TextArena(), task, [bad] * 7)
    assert verdict.reason == "the move is not allowed"
    assert verdict.observation.startswith("That move is not allowed.")
    assert "resubmit" not in verdict.observation
    assert replay(TextArena(), task, [bad] * 7 + line(task)).correct


def test_a_bad_move_at_the_very_limit_does_not_end_the_game() -> None:
    (task,) = draw("GuessTheNumber-v0", min_number=1, max_number=50, max_turns=2)
    wrong = [f"[{n}]" for n in range(1, 51) if str(n) != task.privilege.reference]
    assert not replay(TextArena(), task, [*wrong[:2], "[4000]"]).final
    assert replay(TextArena(), task, [*wrong[:2], "[4000]", *line(task)]).correct


def test_nothing_happens_after_the_end() -> None:
    (task,) = draw("Wordle-v0", num_guesses=1)
    lost = replay(TextArena(), task, ["[crane]" if task.privilege.reference != "crane" else "[slate]"])
    assert lost.final
    assert not lost.correct
    assert replay(TextArena(), task, [lost.answer or "", *line(task)]) == lost
    assert replay(TextArena(), task, [*line(task), "[crane]"]).correct


# Fuzz

SAID = st.one_of(
    st.text(max_size=40),
    st.sampled_from(JUNK),
    st.sampled_from(
        "[up] [down] [left] [right] [bet] [check] [call] [fold] [Accept] [Deny] [crane] [A B] [B C]".split(" ")
    ),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda p: f"[{p[0]} {p[1]}]"),
    st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda p: f"[Offer: {p[0]} Wood -> {p[1]} Brick]"),
    st.integers(0, 12).map(lambda n: f"[{n}]"),
    st.sampled_from(sorted(common(5))).map(lambda w: f"[{w}]"),
)


@pytest.mark.parametrize("name", FAMILIES)
@given(said=st.lists(SAID, min_size=1, max_size=9), seed=st.integers(0, 2))
@example(said=["[entry]", "[owner]"], seed=0)
def test_no_attempt_breaks_a_game_or_draws_its_secret_out(name: str, said: list[str], seed: int) -> None:
    (task,) = draw(name, seed=seed)
    verdict = replay(TextArena(), task, said)
    assert verdict == replay(TextArena(), task, list(said))
    assert 0 <= verdict.score <= 1
    assert not (verdict.correct and verdict.final)
    assert verdict.observation.strip()
    secret = task.privilege.reference
    if secret and not verdict.correct and name != "GuessTheNumber-v0":
        assert not find_leaks(verdict.observation + verdict.reason, secret, [task.prompt, *said])


# Whole dialogues


def converse(tasks: Sequence[Task], student: Any, max_turns: int = 12, guard: Guard | None = None) -> list[Dialogue]:
    rollouts = run_dialogues(
        tasks,
        student,
        build_teacher("scripted"),
        guard=guard or Guard(),
        max_turns=max_turns,
        sampling=Sampling(1.0, 1.0, 400),
        seed=0,
    )
    return [r.dialogue("saying", "scripted", Sampling()) for r in rollouts]


LOSES = {  # a game of each kind, and moves that lose it
    "FrozenLake-v0": None,  # the way into the nearest hole, below
    "Wordle-v0": ["[crane]", "[slate]", "[pound]", "[might]", "[juice]", "[worry]"],
    "KuhnPoker-v0": ["[check]", "[fold]"] * 4,
    "SimpleNegotiation-v0": ["[Deny]"] * 7,
}


def losing(task: Task, name: str) -> list[str]:
    known = LOSES[name]
    if known is not None:
        return known
    env = open_match(name, SUPPORTED[name], {}, task.seed, json.loads(task.config)["index"]).env
    grid = env.state.game_state["grid"]
    for row, column in ((r, c) for r in range(4) for c in range(4) if grid[r][c] == "H"):
        for way in (["[down]"] * row + ["[right]"] * column, ["[right]"] * column + ["[down]"] * row):
            if replay(TextArena(), task, way).final:
                return way
    raise AssertionError("no hole within reach")


@pytest.mark.parametrize("name", FOUR)
def test_whole_dialogues_end_as_the_game_ends(name: str, saying: Make) -> None:
    tasks = draw(name, 3)
    guard = Guard()
    says = [
        ["I wonder.", *line(tasks[0])],
        losing(tasks[1], name),
        ["What shall I do?"],
    ]
    student = saying(lambda row, turn: says[row][min(turn, len(says[row])) - 1])
    solved, lost, undecided = converse(tasks, student, guard=guard)
    assert [d.stop_reason for d in (solved, lost, undecided)] == [
        StopReason.SOLVED,
        StopReason.GAME_OVER,
        StopReason.TURN_LIMIT,
    ]
    assert solved.solved_at == 1 + len(line(tasks[0]))
    assert len(undecided.turns) == 12
    for task, dialogue in zip(tasks, (solved, lost, undecided), strict=True):
        assert dialogue.teacher == "environment"
        assert dialogue.privilege == "solution"
        row = dialogue.to_row()
        assert Dialogue.from_row(row).to_row() == row
        heard = [t for t in row["turns"] if not t["correct"]]
        assert {t["feedback_kind"] for t in heard} == {"environment"}
        assert not any(t["leaked"] for t in heard)
        for turn, t in zip(range(1, 99), dialogue.turns, strict=False):
            if t.feedback:
                assert (
                    t.feedback.text == replay(TextArena(), task, [x.attempt for x in dialogue.turns[:turn]]).observation
                )
    assert guard.counts["leaked"] == guard.counts["redacted"] == guard.counts["teacher_error"] == 0
    assert guard.counts["passed"] > 12


def test_an_empty_attempt_is_answered_and_the_dialogue_goes_on(saying: Make) -> None:
    (task,) = draw("FrozenLake-v0")
    (dialogue,) = converse([task], saying(["", *line(task)]))
    assert dialogue.stop_reason is StopReason.SOLVED
    assert dialogue.turns[0].feedback
    assert "[up]" in dialogue.turns[0].feedback.text


@pytest.mark.parametrize("name", ["Wordle-v0", "Hangman-v0", "GuessTheNumber-v0", "Mastermind-v0"])
def test_a_lost_game_keeps_its_secret(name: str, saying: Make) -> None:
    """textarena ends some of these with the answer. In the record it stands nowhere."""
    wrong = {
        "Wordle-v0": [f"[{w}]" for w in common(5)[:30:3]],
        "Hangman-v0": [f"[{c}]" for c in "qxzjvkwbyfg"],
        "GuessTheNumber-v0": [f"[{n}]" for n in range(1, 21)],
        "Mastermind-v0": [
            f"[{a} {b} {c} 6]" for a in range(1, 5) for b in range(1, 5) for c in range(1, 6) if len({a, b, c}) == 3
        ],
    }[name]
    ended = 0
    for task in draw(name, 12):
        safe = [w for w in wrong if w.lower() != line(task)[0].lower()]
        (dialogue,) = converse([task], saying(safe), max_turns=40)
        if dialogue.stop_reason is not StopReason.GAME_OVER:
            continue
        ended += 1
        last = dialogue.turns[-1]
        assert last.feedback
        assert "The game is over" in last.feedback.text
        secret = task.privilege.reference
        words = [t.feedback.text for t in dialogue.turns if t.feedback] + [t.verdict.reason for t in dialogue.turns]
        assert not any(find_leaks(text, secret, [task.prompt, *safe]) for text in words)
        if not secret.isdigit():
            assert secret.casefold() not in json.dumps(dialogue.to_row()).casefold()
    assert ended >= 6


def test_a_teacher_who_tells_the_word_is_caught(saying: Make) -> None:
    """Were textarena's own closing words passed on, the guard would still cut the word out."""
    from rl2f_hub.teachers import FeedbackRequest, Reply

    class Telling:
        name = "telling"

        def feedback(self, situations: Sequence[FeedbackRequest]) -> list[Reply | None]:
            return [Reply(f"The word was: **{s.privilege.reference.upper()}**.", "told") for s in situations]

    (task,) = draw("Wordle-v0")
    verdict = replay(TextArena(), task, ["[crane]"])
    situation = FeedbackRequest(task.prompt, task.domain, ("[crane]",), (), verdict, task.privilege)
    guard = Guard()
    (feedback,) = guard.pass_on(Telling(), [situation])
    assert feedback
    assert feedback.leaked
    assert task.privilege.reference not in feedback.text.casefold()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_guard_leaves_honest_words_alone(name: str, saying: Make) -> None:
    """Whatever the student tries, what the game answers is passed on word for word."""
    tasks = draw(name, 6)
    rng = random.Random(name)
    others = [m for t in tasks for m in line(t)] + ["[crane]", "[1]", "[2]", "[E]", "[A]"]
    guard = Guard()
    converse(tasks, saying(lambda row, turn: rng.choice(others)), max_turns=15, guard=guard)
    assert guard.counts["passed"] > 0
    assert guard.counts["leaked"] == guard.counts["redacted"] == guard.counts["teacher_error"] == 0


def test_no_secret_word_is_a_word_of_the_games_messages() -> None:
    said: set[str] = set()
    for name in ("Wordle-v0", "Hangman-v0"):
        (task,) = draw(name)
        for attempts in (["hm"], ["[crane]"], ["[crane]"] * 2, ["[qqqqq]"], ["[abc]"], ["[e]"], ["[e]"] * 2, ["[z]"]):
            said |= set(re.findall(r"[a-z]+", replay(TextArena(), task, attempts).observation.lower()))
    said -= {"crane", "qqqqq", "abc"}
    assert said.isdisjoint(common())
    assert {w for w in said if len(w) > 3}.isdisjoint(plain())
    assert SPOKEN.isdisjoint(common())


# Opponents and success


@given(
    offer=st.tuples(st.integers(1, 25), st.sampled_from(range(5)), st.integers(1, 25), st.sampled_from(range(5))),
    seed=st.integers(0, 20),
)
def test_the_negotiator_never_takes_a_bad_trade_and_its_offers_pay(offer: Any, seed: int) -> None:
    names = ("Wheat", "Wood", "Sheep", "Brick", "Ore")
    game = SUPPORTED["SimpleNegotiation-v0"]
    match = open_match("SimpleNegotiation-v0", game, {}, seed, 0)
    state = match.state.game_state
    match.play(f"[Offer: {offer[0]} {names[offer[1]]} -> {offer[2]} {names[offer[3]]}]")
    assert state["inventory_value"][1]["change"] >= 0
    before = state["inventory_value"][1]["current"]
    if state["current_offer"] and state["current_offer"]["from_player"] == 1:
        match.play("[Accept]")
        assert state["inventory_value"][1]["current"] >= before


def test_success_in_a_negotiation_is_a_deal_that_gains_enough() -> None:
    for task in draw("SimpleNegotiation-v0", 20):
        target = int(re.findall(r"by at least (\d+)\.", task.prompt)[0])
        match = open_match(
            "SimpleNegotiation-v0", SUPPORTED["SimpleNegotiation-v0"], {}, 0, json.loads(task.config)["index"]
        )
        assert match.target == target >= 5
        assert not match.won
        shown = match.play(line(task)[0])
        gain = match.state.game_state["inventory_value"][0]["change"]
        assert shown.won
        assert gain >= target
        silent = replay(TextArena(), task, ["[Deny]"] * 12)
        assert (silent.correct, silent.final, silent.score) == (False, True, 0.0)


def test_the_poker_opponent_bets_its_king_and_never_pays_for_its_jack() -> None:
    game = SUPPORTED["KuhnPoker-v0-extreme"]
    answers: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for seed in range(12):
        match = open_match("KuhnPoker-v0-extreme", game, {}, seed, 0)
        while not match.state.done:
            card = match.state.game_state["player_cards"][1]
            tree = match.state.game_state["current_legal_action_tree"]
            shown = match.play("[bet]" if "bet" in tree else "[call]")
            if "bet" in tree and tree["bet"] == {"fold": "loser", "call": "showdown"}:
                answers[card].add("fold" if "Player 1 has folded" in shown.text else "call")
    assert answers[2] == {"call"}
    assert answers[0] == {"fold"}
    assert answers[1] == {"fold", "call"}


def test_bets_and_calls_cost_a_chip() -> None:
    """In textarena's own poker they cost nothing, and never folding wins every game that can be won."""
    game = SUPPORTED["KuhnPoker-v0"]
    stakes = set()
    for seed in range(30):
        match = open_match("KuhnPoker-v0", game, {"max_rounds": 1}, seed, 0)
        tree = match.state.game_state["current_legal_action_tree"]
        text = match.play("[bet]" if "bet" in tree else "[call]").text
        called = "Showdown" in text
        before_antes = {pid: chips + 1 for pid, chips in match.state.game_state["player_chips"].items()}  # a new deal
        assert sorted(before_antes.values()) == ([-2, 2] if called else [-1, 1])
        stakes.add(called)
    assert stakes == {True, False}
    tasks = draw("KuhnPoker-v0", 40)
    bold = [replay(TextArena(), t, ["[bet]", "[call]"] * 6) for t in tasks]
    assert not all(v.correct for v in bold)


def test_a_draw_is_no_success() -> None:
    for task in draw("TicTacToe-v0", 40):
        at = open_match("TicTacToe-v0", SUPPORTED["TicTacToe-v0"], {}, 0, json.loads(task.config)["index"])
        while not at.state.done:
            board = [c for row in at.state.game_state["board"] for c in row]
            shown = at.play(f"[{max(i for i, c in enumerate(board) if not c)}]")
        if at.state.rewards[0] == 0:
            assert (shown.won, shown.over, shown.score) == (False, True, 0.5)
            return
    raise AssertionError("no draw in 40 games")


# Refusals


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("Wordel-v0", {}, "tasks.source: textarena:Wordel-v0 .*did you mean 'Wordle-v0'"),
        ("Wordle-v0-train", {}, "did you mean 'Wordle-v0'"),
        ("Chess-v0", {}, "choose one of FrozenLake-v0, Sokoban-v0, Wordle-v0"),
        ("Wordle-v0", {"word_len": 5}, "tasks.config.word_len: .*did you mean 'word_length'"),
        ("Wordle-v0", {"word_length": 5.5}, "tasks.config.word_length: 5.5 .*from 4 to 8"),
        ("Wordle-v0", {"word_length": 8}, "no common words of 8 letters"),
        ("Wordle-v0", {"hardcore": 1}, "give true or false"),
        ("FrozenLake-v0", {"size": 10**9}, "tasks.config.size: 1000000000"),
        ("FrozenLake-v0", {"num_holes": 9}, "at most a third"),
        ("Nim-v0", {"piles": [0]}, "tasks.config.piles"),
        ("Nim-v0", {"piles": None}, "tasks.config.piles"),
        ("TicTacToe-v0", {"size": 4}, "no settings"),
        ("TowerOfHanoi-v0", {"num_disks": 7}, "was not won in"),
        ("GuessTheNumber-v0", {"min_number": 30}, "gives no game"),
    ],
)
def test_what_cannot_be_played_is_one_line_that_names_the_field(name: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        draw(name, **config)
    assert "\n" not in str(error.value)


def test_another_verifier_is_refused() -> None:
    with pytest.raises(UsageError, match="verifier"):
        next(stream(request_for(SourceSpec(source="textarena:Nim-v0", count=1, verifier="text"))))


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        "[]",
        "no json",
        '{"environment": "Chess-v0", "params": {}, "index": 0}',
        '{"environment": ["Nim-v0"], "params": {}, "index": 0}',
        '{"environment": "Nim-v0", "params": {"piles": [99999999]}, "index": 0}',
        '{"environment": "Nim-v0", "params": {}, "index": "0"}',
        '{"environment": "Nim-v0", "params": [], "index": 0}',
    ],
)
def test_a_task_file_from_outside_cannot_ask_for_anything_else(config: str, saying: Make) -> None:
    task = replace(draw("Nim-v0")[0], config=config)
    with pytest.raises(ValueError, match=task.task_id):
        verify(task, "[0 1]")
    (dialogue,) = converse([task], saying(["[0 1]"]))
    assert dialogue.stop_reason is StopReason.VERIFIER_ERROR


def test_a_bad_task_costs_only_itself() -> None:
    (good,) = draw("Nim-v0")
    bad, fine = verify_many([(replace(good, config="{}"), "[0 1]", ()), (good, "[0 1]", ())])
    assert isinstance(bad, ValueError)
    assert not isinstance(fine, Exception)


def test_without_textarena_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m == "textarena" or m.startswith("textarena.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RL2FError, match=r"rl2f-hub\[games\]"):
        draw("Nim-v0", seed=987_654)


@pytest.mark.parametrize("name", FOUR)
def test_the_verifier_is_right_on_its_own_solutions(name: str) -> None:
    report = validate(SourceSpec(source=f"textarena:{name}", count=20))
    assert (report.note, report.tasks, report.errors) == ("", 20, 0)
    assert report.tried["reference"] == 20
    assert report.false_rejects == 0
    assert report.false_accepts <= 0.1


def test_readers_are_total() -> None:
    for read in (reading.numbers(3), reading.operation, reading.two_pegs, reading.word(5), reading.trade(("Ore",))):
        for text in JUNK:
            assert read(text) is None or read(text).startswith("[")
