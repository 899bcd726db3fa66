"""Winning lines: for a started match, a list of moves after which it is won, or None if none was found.

They look at everything, secrets and the opponent's chance included, and they are privilege: they show that a task can
be solved, and they let `rl2f tasks validate` check the verifier. None is taken on trust: `tasks()` plays each one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from rl2f_hub.tasks.textarena import opponents
from rl2f_hub.tasks.textarena.match import Match

STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
WORTHWHILE = 10  # points: with less to gain there is nothing to negotiate about
MAX_POSITIONS = 1_000  # positions of a game that a search looks at
MAX_STATES = 60_000  # states of the Countdown numbers or of a Sokoban room that a search looks at


def say_the_secret(match: Match) -> list[str] | None:
    assert match.game.secret is not None
    return [f"[{match.game.secret(match.env)}]"]


def shortest_walk(match: Match) -> list[str] | None:
    """Breadth first over the ice, around the holes."""
    state = match.state.game_state
    grid, start = state["grid"], tuple(state["player_pos"])
    came: dict[tuple[int, int], tuple[tuple[int, int], str]] = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if grid[here[0]][here[1]] == "G":
            moves = []
            while here != start:
                here, name = came[here]
                moves.append(f"[{name}]")
            return moves[::-1]
        for name, (down, right) in STEPS.items():
            there = (here[0] + down, here[1] + right)
            inside = 0 <= there[0] < len(grid) and 0 <= there[1] < len(grid)
            if inside and there != start and there not in came and grid[there[0]][there[1]] != "H":
                came[there] = (here, name)
                queue.append(there)
    return None


def sokoban(match: Match) -> list[str] | None:
    """Breadth first over the places of the player and the boxes: the fewest steps."""
    fixed, room = match.env.room_fixed.tolist(), match.env.room_state.tolist()
    cells = [(r, c) for r in range(len(room)) for c in range(len(room[0]))]
    free = {cell for cell in cells if fixed[cell[0]][cell[1]] in (1, 2)}
    goals = frozenset(cell for cell in cells if fixed[cell[0]][cell[1]] == 2)
    start = next(cell for cell in cells if room[cell[0]][cell[1]] == 5)
    boxes = frozenset(cell for cell in cells if room[cell[0]][cell[1]] in (3, 4))
    queue: deque[tuple[tuple[int, int], frozenset[tuple[int, int]], tuple[str, ...]]] = deque([(start, boxes, ())])
    seen = {(start, boxes)}
    while queue and len(seen) < MAX_STATES:
        here, boxes, moves = queue.popleft()
        for name, (down, right) in STEPS.items():
            there, beyond = (here[0] + down, here[1] + right), (here[0] + 2 * down, here[1] + 2 * right)
            after = boxes
            if there in boxes:
                if beyond not in free or beyond in boxes:
                    continue
                after = boxes - {there} | {beyond}
            if there not in free or (there, after) in seen:
                continue
            if after <= goals:
                return [*moves, f"[{name}]"]
            seen.add((there, after))
            queue.append((there, after, (*moves, f"[{name}]")))
    return None


def hanoi(match: Match) -> list[str] | None:
    def shift(disks: int, source: str, target: str, spare: str) -> Iterator[str]:
        if disks:
            yield from shift(disks - 1, source, spare, target)
            yield f"[{source} {target}]"
            yield from shift(disks - 1, spare, target, source)

    return list(shift(match.env.num_disks, "A", "C", "B"))


def lights_out(match: Match) -> list[str] | None:
    """The fewest presses: a system of equations over {0, 1}, one a light, solved by elimination."""
    size = match.env.size
    grid = match.state.game_state["grid"]
    cells = [(r, c) for r in range(size) for c in range(size)]
    rows = []  # bit i: pressing cell i switches this light; the top bit: it is on
    for r, c in cells:
        bits = sum(1 << i for i, (a, b) in enumerate(cells) if abs(a - r) + abs(b - c) <= 1)
        rows.append(bits | grid[r][c] << len(cells))
    pivots: dict[int, int] = {}
    for i in range(len(cells)):
        found = next((n for n, row in enumerate(rows) if row >> i & 1 and n not in pivots.values()), None)
        if found is None:
            continue
        pivots[i] = found
        rows = [row ^ rows[found] if n != found and row >> i & 1 else row for n, row in enumerate(rows)]
    if any(row >> len(cells) for n, row in enumerate(rows) if n not in pivots.values()):
        return None
    free = [i for i in range(len(cells)) if i not in pivots]
    best: list[int] | None = None
    for choice in range(1 << len(free)):
        chosen = sum(1 << i for n, i in enumerate(free) if choice >> n & 1)
        presses = [i for i in free if chosen >> i & 1]
        presses += [i for i, n in pivots.items() if (rows[n] >> len(cells) & 1) ^ ((rows[n] & chosen).bit_count() & 1)]
        if best is None or len(presses) < len(best):
            best = presses
    return [f"[{cells[i][0]} {cells[i][1]}]" for i in sorted(best or [])] or None


def sudoku(match: Match) -> list[str] | None:
    """The empty cells row by row, from the full grid that the puzzle was cut from."""
    env = match.env
    empty = [(r, c) for r in range(9) for c in range(9) if env.game_board[r][c] == 0]
    return [f"[{r + 1} {c + 1} {env.full_grid[r][c]}]" for r, c in empty]


def countdown(match: Match) -> list[str] | None:
    """Depth first over pairs of numbers; what is left in the list moves as the environment moves it."""
    target = match.env.target
    seen: set[tuple[int, ...]] = set()

    def search(numbers: list[int]) -> list[str] | None:
        key = tuple(sorted(numbers))
        if key in seen or len(seen) > MAX_STATES:
            return None
        seen.add(key)
        for i, a in enumerate(numbers):
            for j, b in enumerate(numbers):
                if i == j:
                    continue
                for sign, value in _results(a, b, i < j):
                    move = f"[{i} {j} {sign}]"
                    if value == target:
                        return [move]
                    rest = search([n for k, n in enumerate(numbers) if k not in (i, j)] + [value])
                    if rest is not None:
                        return [move, *rest]
        return None

    return search(list(match.env.numbers))


def _results(a: int, b: int, first: bool) -> Iterator[tuple[str, int]]:
    """Results worth looking at: sums and products once a pair, no negative numbers, no idle steps."""
    if first:
        yield "+", a + b
        if a * b <= 1_000_000 and 1 not in (a, b):
            yield "*", a * b
    if a > b:
        yield "-", a - b
    if b > 1 and a % b == 0:
        yield "/", a // b


def best_offer(match: Match) -> list[str] | None:
    """The one trade that the opponent takes at once and that brings the student most; None if that is hardly worth it."""
    gain, offer = best_trade(match.env)
    return [offer] if gain >= WORTHWHILE else None


def best_trade(env: Any) -> tuple[int, str]:
    """The largest gain of a trade of one resource for one other that the opponent takes, and the offer as a move."""
    state = env.state.game_state
    own, theirs = state["player_resources"][0], state["player_resources"][1]
    worth, price = state["player_values"][0], state["player_values"][1]
    best = (0, "")
    for wanted in theirs:
        for number in range(1, theirs[wanted] + 1):
            for given in own:
                tenths = 11 * number * price[wanted]  # opponents.MARGIN, in whole numbers
                pays = -(-tenths // (10 * price[given]))
                gain = number * worth[wanted] - pays * worth[given]
                if given != wanted and pays <= own[given] and gain > best[0]:
                    best = (gain, f"[Offer: {pays} {given} -> {number} {wanted}]")
    return best


def by_search(candidates: Callable[[Match], list[str]]) -> Callable[[Match], list[str] | None]:
    """Depth first through real plays against the real opponent; `candidates` lists moves, the best first."""

    def line(match: Match) -> list[str] | None:
        looked = 0

        def search(at: Match) -> list[str] | None:
            nonlocal looked
            for move in candidates(at):
                looked += 1
                if looked > MAX_POSITIONS:
                    return None
                after = at.copy()
                shown = after.play(move)
                if shown.won:
                    return [move]
                if shown.legal and not shown.over:
                    rest = search(after)
                    if rest is not None:
                        return [move, *rest]
            return None

        return search(match)

    return line


def by_trial(choose: Callable[[Any, random.Random], str], tries: int = 60) -> Callable[[Match], list[str] | None]:
    """Plays whole games with a sensible, seeded policy of the student's own until one is won."""

    def line(match: Match) -> list[str] | None:
        for number in range(tries):
            at, rng, moves = match.copy(), random.Random(number), list[str]()
            while not at.state.done:
                moves.append(choose(at.env, rng))
                if at.play(moves[-1]).won:
                    return moves
        return None

    return line


def poker_moves(match: Match) -> list[str]:
    cards = match.state.game_state["player_cards"]
    bold = [m for m in ("bet", "call", "check", "fold") if m in match.state.game_state["current_legal_action_tree"]]
    return [f"[{m}]" for m in (bold if cards[0] > cards[1] else bold[::-1])]


def tic_tac_toe_moves(match: Match) -> list[str]:
    cells = [cell for row in match.state.game_state["board"] for cell in row]
    return [f"[{i}]" for i in (4, 0, 2, 6, 8, 1, 3, 5, 7) if not cells[i]]


def nim_moves(match: Match) -> list[str]:
    piles = match.state.game_state["piles"]
    total = 0
    for pile in piles:
        total ^= pile
    moves = [(total ^ pile ^ (pile - n) != 0, i, n) for i, pile in enumerate(piles) for n in range(1, pile + 1)]
    return [f"[{i} {n}]" for _, i, n in sorted(moves)]


def connect_four_move(env: Any, rng: random.Random) -> str:
    return opponents.connect_four(env, rng, seat=0)


def against_cycle(answers: dict[str, str]) -> Callable[[Match], list[str] | None]:
    """Plays each round knowing what the opponent does; `answers` maps its move to the one that wins against it."""

    def line(match: Match) -> list[str] | None:
        at, moves = match.copy(), list[str]()
        while not at.state.done:
            trial = at.copy()
            trial.play(f"[{next(iter(answers))}]")
            moves.append(f"[{answers[trial.state.game_state['history'][-1][1]]}]")
            at.play(moves[-1])
        return moves

    return line


def one_above(match: Match) -> list[str] | None:
    """One more than the prize, which is what the opponent bids, and the ace for the king."""
    faces = [match.env._val_to_face(prize % 13 + 1) for prize in match.state.game_state["prize_deck"]]
    return [f"[{face}]" for face in faces]
