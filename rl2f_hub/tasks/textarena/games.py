"""The environments that are supported: what each wants to hear, who plays against the student, how it can be won.

All run offline and are the same for ever by seed. In SimpleNegotiation success is our own measure, not textarena's:
the student succeeds as soon as its trades have raised the value of its resources, by its own values, by half of what
the best single trade at the start would bring (the opponent's own gain does not count, and nothing is won without a
deal; draws whose best trade brings less than 10 are left out). In Kuhn poker, Nim and the board games success is
textarena's: a win; a draw is none.

Left out, and why (textarena 0.7.4, every single- and two-player game of it started without network):
- they need corpora of nltk: DontSayIt, LetterAuction, SpellingBee, WordChains, WordLadder, WordSearch (Wordle and
  Hangman too: `words.py` brings its own);
- they ask a model on a server: Debate, GuessWho, ScenarioPlanning, TwentyQuestions;
- they do not start: Checkers, Chess, IteratedStagHunt, Klondike, ReverseTicTacToe and UltimateTexasHoldem are no valid
  Python 3.11; ScorableGames and UsedCarNegotiation come without their files;
- RushHour prints to the terminal; Sudoku-v0-hard and Sokoban-v0-medium take from 10 seconds to minutes for one task;
- Minesweeper counts a mine as a forbidden move, which by our rules does no harm;
- decided by luck alone (Bandit, Blackjack, PigDice, Secretary, ThreeCardMonte) or by what another player believes
  (the iterated dilemmas, auctions, Stratego, TruthAndDeception, TwoDollar and the like): no scripted rule is fair there;
- no short search finds a winning line (2048, FifteenPuzzle, Othello, ...), or there is one single puzzle (Cryptarithm,
  PegJump), or nobody has written the opponent yet; games for more than two are not supported at all.
"""

from __future__ import annotations

import re
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.tasks.textarena import lines, moves, opponents, words
from rl2f_hub.tasks.textarena.game import Game, Param

RESOURCES = ("Wheat", "Wood", "Sheep", "Brick", "Ore")


def _secret(key: str) -> Any:
    return lambda env: str(env.state.game_state[key])


def _code(env: Any) -> str:
    return " ".join(map(str, env.state.game_state["secret_code"]))


def _frozen_lake(size: int, num_holes: int, randomize_start_goal: bool) -> Any:
    from textarena.envs.FrozenLake.env import FrozenLakeEnv

    if 3 * num_holes > size * size:  # beyond that textarena rarely finds a way through, and prints a warning
        raise ValueError(f"at most a third of the cells may be holes, {size * size // 3} of {size * size}")
    return FrozenLakeEnv(size=size, num_holes=num_holes, randomize_start_goal=randomize_start_goal)


def _kuhn_poker(max_rounds: int) -> Any:
    from textarena.envs.KuhnPoker.env import KuhnPokerEnv

    class KuhnPoker(KuhnPokerEnv):
        """textarena's Kuhn poker with the stakes that its rules announce: there, a bet and a call cost nothing."""

        def step(self, action: str) -> tuple[bool, dict[str, Any]]:
            state = self.state.game_state
            move = action.strip("[]").lower()
            if move in ("bet", "call") and move in state["current_legal_action_tree"]:
                state["pot"] += 1
                state["player_chips"][self.state.current_player_id] -= 1
            done: tuple[bool, dict[str, Any]] = super().step(action)
            return done

    return KuhnPoker(max_rounds)


FROZEN_LAKE = Game(
    players=1,
    looks="A move is a direction in square brackets: [up], [down], [left] or [right].",
    reader=lambda _: moves.choice(("up", "down", "left", "right"), {"w": "up", "s": "down", "a": "left", "d": "right"}),
    line=lines.shortest_walk,
    found="shortest path",
    params={"size": Param(3, 12), "num_holes": Param(1, 48), "randomize_start_goal": Param()},
    build=_frozen_lake,
)
SOKOBAN = Game(
    players=1,
    looks="A move is a direction in square brackets: [up], [down], [left] or [right].",
    reader=FROZEN_LAKE.reader,
    line=lines.sokoban,
    found="fewest steps",
    params={"num_boxes": Param(1, 3), "max_turns": Param(1, 200)},
)
WORDLE = Game(
    players=1,
    looks="A move is one word in square brackets, such as [apple].",
    reader=lambda p: moves.word(p["word_length"]),
    line=lines.say_the_secret,
    found="the secret word",
    params={"word_length": Param(4, 8), "num_guesses": Param(1, 30), "hardcore": Param()},
    secret=_secret("secret_word"),
    build=words.wordle,
)
HANGMAN = Game(
    players=1,
    looks="A move is one letter in square brackets, such as [L], or the whole word.",
    reader=lambda _: moves.letter_or_word,
    line=lambda match: [f"[{match.state.game_state['target_word'].upper()}]"],
    found="the secret word",
    params={"hardcore": Param()},
    secret=_secret("target_word"),
    build=words.hangman,
)
NUMBER = Game(
    players=1,
    looks="A move is a whole number in square brackets, such as [5].",
    reader=lambda _: moves.numbers(1),
    line=lines.say_the_secret,
    found="the secret number",
    params={"min_number": Param(1, 9_000), "max_number": Param(2, 9_999), "max_turns": Param(1, 60)},
    secret=_secret("game_number"),
)
MASTERMIND = Game(
    players=1,
    looks="A move is a list of digits in square brackets, such as [2 1 4 5].",
    reader=lambda p: moves.numbers(p["code_length"]),
    line=lines.say_the_secret,
    found="the secret code",
    params={
        "code_length": Param(2, 8),
        "num_numbers": Param(2, 20),
        "max_turns": Param(1, 60),
        "duplicate_numbers": Param(),
    },
    secret=_code,
)
HANOI = Game(
    players=1,
    looks="A move is a source and a target in square brackets, such as [A C].",
    reader=lambda _: moves.two_pegs,
    line=lines.hanoi,
    found="the recursive solution",
    params={"num_disks": Param(2, 7), "max_turns": Param(1, 500)},
)
LIGHTS_OUT = Game(
    players=1,
    looks="A move is a row and a column in square brackets, such as [0 2].",
    reader=lambda _: moves.numbers(2),
    line=lines.lights_out,
    found="fewest presses, by elimination",
    params={"size": Param(2, 6), "max_turns": Param(1, 100)},
    slip=re.compile(r", -?[0-9.]+% complete"),  # a share that is shown as a percentage
)
SUDOKU = Game(
    players=1,
    looks="A move is row, column and digit in square brackets, such as [5 3 7].",
    reader=lambda _: moves.numbers(3),
    line=lines.sudoku,
    found="the full grid",
    params={"clues": Param(35, 80), "max_turns": Param(1, 200)},
)
COUNTDOWN = Game(
    players=1,
    looks="A move is two indices and a sign in square brackets, such as [0 2 *].",
    reader=lambda _: moves.operation,
    line=lines.countdown,
    found="search over the numbers",
    params={
        "numbers": Param(1, 1_000, 6, drawn=True),
        "target": Param(1, 9_999, drawn=True),
        "max_turns": Param(1, 12),
    },
)
KUHN_POKER = Game(
    players=2,
    looks="A move is one of [check], [bet], [call] and [fold].",
    reader=lambda _: moves.choice(("check", "bet", "call", "fold")),
    line=lines.by_search(lines.poker_moves),
    found="search against the opponent",
    params={"max_rounds": Param(1, 25)},
    opponent=opponents.kuhn_poker,
    build=_kuhn_poker,
    noise=re.compile(r"^### Starting round|^Your available actions"),
)
NEGOTIATION = Game(
    players=2,
    looks="A move is [Accept], [Deny] or an offer such as [Offer: 3 Sheep, 2 Ore -> 5 Brick, 2 Sheep].",
    reader=lambda _: moves.trade(RESOURCES),
    line=lines.best_offer,
    found="the best trade that the opponent takes",
    params={"max_turns": Param(2, 60)},
    domain="negotiation",
    opponent=opponents.negotiation,
    target=lambda env: max(1, lines.best_trade(env)[0] // 2),
    gained=lambda env: int(env.state.game_state["inventory_value"][0]["change"]),
)
TIC_TAC_TOE = Game(
    players=2,
    looks="A move is the number of a free cell in square brackets, such as [4].",
    reader=lambda _: moves.numbers(1),
    line=lines.by_search(lines.tic_tac_toe_moves),
    found="search against the opponent",
    opponent=opponents.tic_tac_toe,
)
CONNECT_FOUR = Game(
    players=2,
    looks="A move is a column in square brackets, such as [col 4].",
    reader=lambda _: moves.numbers(1, "col "),
    line=lines.by_trial(lines.connect_four_move),
    found="trial games against the opponent",
    params={"num_rows": Param(4, 12), "num_cols": Param(4, 15), "is_open": Param()},
    opponent=opponents.connect_four,
)
NIM = Game(
    players=2,
    looks="A move is a pile and how many to take from it, in square brackets, such as [0 3].",
    reader=lambda _: moves.numbers(2),
    line=lines.by_search(lines.nim_moves),
    found="search against the opponent, the sum of Nim first",
    params={"piles": Param(1, 12, 6)},
    opponent=opponents.nim,
)
ROCK_PAPER_SCISSORS = Game(
    players=2,
    looks="A move is one of [rock], [paper] and [scissors].",
    reader=lambda _: moves.choice(("rock", "paper", "scissors"), {"r": "rock", "p": "paper", "s": "scissors"}),
    line=lines.against_cycle({"rock": "paper", "paper": "scissors", "scissors": "rock"}),
    found="what beats the opponent's cycle",
    params={"num_rounds": Param(1, 30)},
    opponent=opponents.cycle(("rock", "paper", "scissors")),
)
MATCHING_PENNIES = Game(
    players=2,
    looks="A move is [heads] or [tails].",
    reader=lambda _: moves.choice(("heads", "tails"), {"h": "heads", "t": "tails"}),
    line=lines.against_cycle({"heads": "heads", "tails": "tails"}),
    found="what matches the opponent's cycle",
    params={"num_rounds": Param(1, 30)},
    opponent=opponents.cycle(("heads", "tails")),
)
PURE_STRATEGY = Game(
    players=2,
    looks="A move is one of your cards in square brackets, such as [Q] or [10].",
    reader=lambda _: moves.choice(tuple(map(str, range(10, 1, -1))), {"a": "A", "j": "J", "q": "Q", "k": "K"}),
    line=lines.one_above,
    found="one more than the opponent's bid",
    opponent=opponents.pure_strategy,
)

SUPPORTED: dict[str, Game] = {
    **dict.fromkeys(("FrozenLake-v0", "FrozenLake-v0-random", "FrozenLake-v0-hardcore"), FROZEN_LAKE),
    "Sokoban-v0": SOKOBAN,
    **dict.fromkeys(("Wordle-v0", "Wordle-v0-hardcore", "Wordle-v0-long", "Wordle-v0-long-hardcore"), WORDLE),
    **dict.fromkeys(("Hangman-v0", "Hangman-v0-hardcore"), HANGMAN),
    **dict.fromkeys(("GuessTheNumber-v0", "GuessTheNumber-v0-hardcore"), NUMBER),
    **dict.fromkeys(("Mastermind-v0", "Mastermind-v0-hard", "Mastermind-v0-extreme"), MASTERMIND),
    **dict.fromkeys((f"TowerOfHanoi-v0{x}" for x in ("", "-medium", "-hard", "-hardcore", "-extreme")), HANOI),
    "LightsOut-v0": LIGHTS_OUT,
    **dict.fromkeys(("Sudoku-v0-very-easy", "Sudoku-v0-easy", "Sudoku-v0", "Sudoku-v0-medium"), SUDOKU),
    "Countdown-v0": COUNTDOWN,
    **dict.fromkeys((f"KuhnPoker-v0{x}" for x in ("", "-short", "-medium", "-long", "-extreme")), KUHN_POKER),
    **dict.fromkeys((f"SimpleNegotiation-v0{x}" for x in ("", "-short", "-long")), NEGOTIATION),
    "TicTacToe-v0": TIC_TAC_TOE,
    **dict.fromkeys(("ConnectFour-v0", "ConnectFour-v0-blind", "ConnectFour-v0-large"), CONNECT_FOUR),
    **dict.fromkeys(("Nim-v0", "Nim-v0-medium", "Nim-v0-large"), NIM),
    "IteratedRockPaperScissors-v0": ROCK_PAPER_SCISSORS,
    "IteratedMatchingPennies-v0": MATCHING_PENNIES,
    "GameOfPureStrategy-v0": PURE_STRATEGY,
}


def game_of(game_id: str, at: str) -> Game:
    """The supported environment of that name.

    Raises:
        UsageError: unknown to textarena, or known and not supported; with the nearest names.
    """
    if game_id not in SUPPORTED:
        plain = re.sub(r"-(?:raw|train)$", "", game_id)  # textarena's other wordings of the same game
        first = dict.fromkeys(name.split("-v0")[0] + "-v0" for name in SUPPORTED)
        near = did_you_mean(plain, SUPPORTED) or f"; choose one of {', '.join(first)} or a variant of it"
        raise UsageError(f"{at}.source: textarena:{game_id} is not a supported environment{near}")
    return SUPPORTED[game_id]
