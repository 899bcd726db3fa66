"""The scripted opponents of two-player games: simple, sensible, seeded, the same for ever.

An opponent sees what a player in its seat would see and answers with a move as text. `rng` belongs to the match, so
that the same moves of the student always meet the same answers.

Kuhn poker: bets and calls with the king; checks and folds with the jack, but bluffs with it one time in three;
    with the queen it checks and calls every second bet.
Negotiation: takes an offer that is worth at least a tenth more to it than what it gives. Otherwise it makes one
    itself: the offer it refused with less given, down to where it would take it; or one of the two things that it
    values least, against the usual price, for one of the two that it values most.
Tic-tac-toe: completes three in a row, else stops the student's, else takes a free cell by chance.
Connect Four: completes four, else stops the student's, else drops into a column by chance.
Nim: takes the last pile whole, else any number from any pile by chance.
Rock-paper-scissors, matching pennies: repeats a cycle of three moves, drawn at the start, whatever the student does.
Game of pure strategy: bids the card that has the value of the prize.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

USUAL = {"Wheat": 5, "Wood": 10, "Sheep": 15, "Brick": 25, "Ore": 40}  # the prices that both players' values lie around
MARGIN = 1.1  # a trade must bring the opponent this much of what it gives


def kuhn_poker(env: Any, rng: random.Random) -> str:
    legal = set(env.state.game_state["current_legal_action_tree"])
    card = env.state.game_state["player_cards"][1]  # 0 the jack, 1 the queen, 2 the king
    bold = card == 2 or (card == 0 and "bet" in legal and rng.random() < 1 / 3)
    bold = bold or (card == 1 and "call" in legal and rng.random() < 1 / 2)
    if "bet" in legal:
        return "[bet]" if bold else "[check]"
    return "[call]" if bold else "[fold]"


def negotiation(env: Any, rng: random.Random) -> str:
    state = env.state.game_state
    stock, values = state["player_resources"][1], state["player_values"][1]
    offer = state["current_offer"]
    if offer is None or offer["from_player"] != 0:
        return _own_offer(state, rng)
    brings = sum(n * values[r] for r, n in offer["offered_resources"].items())
    asked = offer["requested_resources"]
    if all(stock[r] >= n for r, n in asked.items()):
        cost = sum(n * values[r] for r, n in asked.items())
        if brings >= MARGIN * cost:
            return "[Accept]"
    less = dict(asked)
    for name in sorted(less, key=lambda r: -less[r] * values[r]):
        others = sum(n * values[r] for r, n in less.items() if r != name)
        affordable = math.floor((brings / MARGIN - others) / values[name])
        less[name] = max(0, min(less[name], affordable, stock[name]))
    less = {r: n for r, n in less.items() if n}
    if less and sum(n * values[r] for r, n in less.items()) * MARGIN <= brings:
        return f"[Offer: {_said(less)} -> {_said(offer['offered_resources'])}]"
    return _own_offer(state, rng)


def _own_offer(state: dict[str, Any], rng: random.Random) -> str:
    stock, values = state["player_resources"][1], state["player_values"][1]
    dear = sorted(USUAL, key=lambda r: (values[r] / USUAL[r], r))
    held = [r for r in dear if stock[r]]
    if not held:
        return "[Deny]"
    given = rng.choice(held[:2])
    wanted = rng.choice([r for r in dear if r != given][-2:])
    want = rng.randint(1, 3)
    give = min(stock[given], math.floor(want * values[wanted] / (MARGIN * values[given])))
    if give == 0:  # what it gives is dearer than what it gets: one of it, at a price that pays
        give, want = 1, math.ceil(MARGIN * values[given] / values[wanted])
    return f"[Offer: {give} {given} -> {want} {wanted}]"


def _said(items: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in items.items())


def tic_tac_toe(env: Any, rng: random.Random) -> str:
    board = [cell for row in env.state.game_state["board"] for cell in row]
    free = [i for i, cell in enumerate(board) if not cell]
    lines = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]
    for mark in ("X", "O"):  # the opponent is X
        for line in lines:
            marks = [board[i] for i in line]
            if marks.count(mark) == 2 and "" in marks:
                return f"[{line[marks.index('')]}]"
    return f"[{rng.choice(free)}]"


def connect_four(env: Any, rng: random.Random, seat: int = 1) -> str:
    """`seat` lets the search for a winning line play the student's side with the same sense."""
    board = env.state.game_state["board"]
    free = [c for c in range(env.num_cols) if board[0][c] == "."]
    for disc in ("XO"[seat], "XO"[1 - seat]):
        for column in free:
            row = max(r for r in range(env.num_rows) if board[r][column] == ".")
            trial = copy.copy(env)
            trial.state = copy.copy(env.state)
            rows = [list(r) for r in board]
            rows[row][column] = disc
            trial.state.game_state = {"board": rows}
            if trial._check_win(row, column):
                return f"[col {column}]"
    return f"[col {rng.choice(free)}]"


def nim(env: Any, rng: random.Random) -> str:
    piles = [(i, n) for i, n in enumerate(env.state.game_state["piles"]) if n]
    if len(piles) == 1:
        return f"[{piles[0][0]} {piles[0][1]}]"
    pile, size = rng.choice(piles)
    return f"[{pile} {rng.randint(1, size)}]"


def cycle(names: tuple[str, ...]) -> Callable[[Any, random.Random], str]:
    def play(env: Any, rng: random.Random) -> str:
        state = env.state.game_state
        if "cycle" not in state:
            state["cycle"] = [rng.choice(names) for _ in range(3)]
        return f"[{state['cycle'][(state['round'] - 1) % 3]}]"

    return play


def pure_strategy(env: Any, rng: random.Random) -> str:
    prize = env.state.game_state["current_prize"]
    return f"[{env._val_to_face(prize)}]"
