"""An environment of your own: a number is guessed, and the world itself says more or less. No teacher speaks.

    tasks:
      train:
        - {source: "python:my_environment.py:Guess", count: 100, config: {highest: 20}}

One object is one game. It is played again from `reset` for every verdict, so it must be a pure function of task and moves.
It needs `--allow-local-code`.
"""

import random
import re
from collections.abc import Iterator

from rl2f_hub import Task, Verdict
from rl2f_hub.verify import Environment


class Guess(Environment):
    def __init__(self, highest: int = 20, guesses: int = 6) -> None:  # takes the source's `config`
        self.highest, self.guesses = highest, guesses

    def tasks(self, seed: int) -> Iterator[dict[str, str]]:
        numbers = list(range(1, self.highest + 1))
        random.Random(seed).shuffle(numbers)
        for game, number in enumerate(numbers, 1):
            prompt = f"Guess my number, 1 to {self.highest}, in {self.guesses} guesses. (Game {game})"
            yield {"prompt": prompt, "reference": str(number), "solution": str(number), "domain": "games"}

    def reset(self, task: Task) -> None:
        self.number, self.made = int(task.privilege.reference), 0

    def step(self, attempt: str) -> Verdict:
        found = re.findall(r"\d+", attempt)
        if not found:
            return Verdict(False, 0.0, None, "no number", observation="Say a number.")
        guess = int(found[-1])
        self.made += 1
        if guess == self.number:
            return Verdict(True, 1.0, str(guess), "found", observation="Yes!")
        over = self.made >= self.guesses
        told = "No guesses are left." if over else "Less." if guess > self.number else "More."
        return Verdict(False, 0.0, str(guess), "another number", observation=told, final=over)
