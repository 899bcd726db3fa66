"""Items of the audit: a question, its reference and a wrong attempt, for every domain that recipes draw from.

An item knows nothing of feedback. `DOMAINS` maps a domain to its maker; everything is a function of the random
generator that it is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from rl2f_hub.sandbox.jobs import CodeTests

WORDS = """
amber anchor apricot badger barley beacon bramble candle canyon cedar cinder clover copper coral cricket dahlia ember
falcon fennel ferry fjord garnet ginger glacier gravel hazel heron hollow ivory jasper juniper kettle lantern lichen
linen magnet mallow marble meadow mimosa nectar nutmeg oriole orchard otter parsley pebble pepper pigeon plum poplar
quartz quiver raven ribbon saffron sandal sparrow spruce tallow thistle timber tulip umber velvet walnut willow zephyr
""".split()
NAMES = ("Nora", "Ben", "Ravi", "Lucia", "Tom", "Aiko", "Sam", "Zara")
SENTENCES = (
    "the tide pulled every small boat out of the harbour before dawn",
    "no bird that nests on the cliff is afraid of the wind",
    "the older clock runs slower than the one in the hall",
    "some of the painters in the valley never sold a picture",
    "because the bridge was closed she walked home along the canal",
    "a warm current keeps the northern port free of ice all winter",
    "every lamp in the street went out when the storm arrived",
    "the red key opens the cellar and the blue key opens the attic",
)
CHOICES = (
    ("Which gas do plants take in?", ("oxygen", "carbon dioxide", "nitrogen", "helium")),
    ("Which planet is the largest?", ("Mars", "Saturn", "Jupiter", "Venus", "Neptune")),
    ("What does a barometer measure?", ("air pressure", "wind speed", "humidity", "temperature")),
    ("Which metal is liquid at room temperature?", ("iron", "mercury", "copper", "zinc")),
    ("Which organ makes insulin?", ("the liver", "the pancreas", "the kidney", "the spleen")),
    ("Which rock forms from lava?", ("basalt", "limestone", "slate", "marble", "sandstone")),
)


@dataclass(frozen=True, slots=True)
class Item:
    """`near` are further wrong answers that a teacher may speak of; `options` those of a multiple choice, in order."""

    domain: str
    question: str
    reference: str
    student: str
    near: tuple[str, ...]
    solution: str = ""
    tests: str = ""
    options: tuple[str, ...] = ()


def _integer(rng: random.Random) -> Item:
    shape = rng.choice(["product", "product", "sum", "difference", "small"])
    if shape == "product":
        a, b = rng.randint(11, 990), rng.randint(11, 990)
        question, value = f"What is {a} * {b}? Give only the number.", a * b
    elif shape == "sum":
        a, b = (rng.randint(10, 10 ** rng.randint(2, 7)) for _ in range(2))
        question, value = f"Add {a} and {b}.", a + b
    elif shape == "difference":
        a, b = (rng.randint(100, 10 ** rng.randint(3, 5)) for _ in range(2))
        question, value = f"What is {a} - {b}?", a - b
    else:
        a, b = rng.randint(2, 9), rng.randint(11, 19)
        question, value = f"{rng.choice(NAMES)} packs {a} boxes with {b} pencils each. How many pencils?", a * b
    return _numeric("integer", question, value, rng)


def _numeric(domain: str, question: str, value: int, rng: random.Random) -> Item:
    steps = [s for s in (1, -1, 10, -10, 100, 7, -3, 20, 2, -30) if value + s and (value + s < 0) == (value < 0)]
    wrong = [value + s for s in rng.sample(steps, 4)]
    student = rng.choice(["{}", "The answer is {}.", "I get {}", "\\boxed{{{}}}"]).format(wrong[0])
    return Item(domain, question, str(value), student, tuple(str(w) for w in wrong[1:]))


def _digit(rng: random.Random) -> Item:
    """One-digit references: the hardest to tell from innocent text."""
    value = rng.randint(2, 9)
    other = rng.choice([d for d in range(1, 10) if d != value])
    total = rng.randint(30, 60) * 10
    question = f"How many vowels stand in the word on card {total}?"
    return Item("digit", question, str(value), str(other), (str(10 + other),))


def _decimal(rng: random.Random) -> Item:
    whole, places = rng.randint(0, 400), rng.randint(1, 3)
    part = rng.randint(1, 10**places - 1)
    part += part % 10 == 0
    reference = f"{whole}.{part:0{places}d}"
    others = [f"{whole + d}.{part:0{places}d}" for d in (1, 10, 3)]
    return Item("decimal", "What is the quotient, as a decimal?", reference, others[0], tuple(others[1:]))


def _fraction(rng: random.Random) -> Item:
    while True:
        value = Fraction(rng.randint(1, 40), rng.randint(3, 40))
        if value.denominator > 2:
            break
    k = rng.randint(2, 9)
    question = f"Simplify {value.numerator * k}/{value.denominator * k}."
    wrong = f"{value.numerator + 1}/{value.denominator}"
    near = (f"{value.numerator}/{value.denominator + 1}", f"{value.numerator + 2}/{value.denominator}")
    reference = f"{value.numerator}/{value.denominator}"
    style = rng.choice(["{}", "{}", "$\\frac{{{}}}{{{}}}$"])
    if "frac" in style:
        reference = style.format(value.numerator, value.denominator)
    return Item("fraction", question, reference, wrong, near)


def _percent(rng: random.Random) -> Item:
    value = rng.choice([v for v in range(11, 96) if v % 10])
    question = f"What share of the {rng.randint(2, 9) * 100} seats is taken?"
    return Item("percent", question, f"{value}%", f"{value + 3}%", (f"{value - 2}%", f"{value + 6}%"))


def _money(rng: random.Random) -> Item:
    pounds, cents = rng.randint(12, 4000), rng.choice([0, 25, 50, 75, 99])
    sign = rng.choice("$£€")
    amount = [
        f"{sign}{p}.{cents:02d}" if cents else f"{sign}{p}" for p in (pounds, pounds + 5, pounds + 10, pounds - 2)
    ]
    return Item("money", "What does the whole order cost?", amount[0], amount[1], tuple(amount[2:]))


def _algebra(rng: random.Random) -> Item:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(11, 30)
    x = rng.choice("xyt")
    reference = rng.choice(
        [f"{a}{x}^2+{b}{x}-{c}", f"({x}+{a})({x}-{c})", f"{a}*{x}**3 - {c}*{x}", f"\\sqrt{{{c}}}+{a}{x}"]
    )
    wrong = f"{a + 1}{x}^2-{b}{x}+{c}"
    return Item(
        "algebra", "Expand or factor as asked on the sheet.", reference, wrong, (f"{b}{x}^2+{c + 1}", f"{x}^3-{c + 2}")
    )


def _listed_number(rng: random.Random) -> Item:
    """The student lists candidates, the right one among them: pointing at it is a leak, speaking of them is not."""
    first = rng.randint(120, 9000)
    numbers = rng.sample([first + d for d in (0, 1, 3, 7, 10, 20, 31, 44)], rng.randint(4, 6))
    form = rng.choice(["It could be {}.", "{}", "Candidates: {}", "One of {}"])
    student = form.format(rng.choice([", ", " or ", "; "]).join(map(str, numbers)))
    reference = str(rng.choice(numbers))
    near = tuple(str(n) for n in numbers if str(n) != reference)
    return Item("listed number", "Which number is meant on the sheet?", reference, student, near)


def _word(rng: random.Random) -> Item:
    word, wrong, other = rng.sample(WORDS, 3)
    return Item("word", "Solve the riddle: what am I? One word.", word, wrong, (other,))


def _listed_word(rng: random.Random) -> Item:
    """The reference stands in the question: naming it is innocent, choosing it is not."""
    words = rng.sample(WORDS, 4)
    word = max(words)
    wrong = rng.choice([w for w in words if w != word])
    question = f"Which of these words comes last in the alphabet: {', '.join(words)}?"
    return Item("listed word", question, word, wrong, tuple(w for w in words if w not in (word, wrong)))


def _sentence(rng: random.Random) -> Item:
    sentence = rng.choice(SENTENCES)
    words = sentence.split()
    student = " ".join([*words[:2], *rng.sample(WORDS, 3)])
    return Item("sentence", "Translate the line on the board.", sentence, student, (rng.choice(WORDS),))


def _choice(rng: random.Random) -> Item:
    stem, listed = rng.choice(CHOICES)
    options = tuple(rng.sample(listed, len(listed)))
    place = rng.randrange(len(options))
    wrong = rng.choice([i for i in range(len(options)) if i != place])
    letters = "ABCDE"
    question = stem + "".join(f"\n({letter}) {text}" for letter, text in zip(letters, options, strict=False))
    near = tuple(letters[i] for i in range(len(options)) if i not in (place, wrong))
    return Item("choice", question, letters[place], letters[wrong], near, options=options)


def _grid(rng: random.Random) -> Item:
    rows, columns = rng.randint(3, 5), rng.randint(4, 6)
    while True:
        cells = [[rng.randint(0, 9) for _ in range(columns)] for _ in range(rows)]
        if all(len(set(row)) > 2 for row in cells):
            break
    wrong = [row[:] for row in cells]
    for row in wrong:
        row[0] = (row[0] + rng.randint(1, 9)) % 10
        row[2] = (row[2] + rng.randint(1, 9)) % 10
    reference, student = ("\n".join(" ".join(map(str, row)) for row in grid) for grid in (cells, wrong))
    return Item("grid", "Continue the pattern: give the output grid.", reference, student, (str(rows), str(columns)))


# (what is asked, name, parameters, body, wrong body, [(arguments, expected)])
_PROGRAMS: tuple[tuple[str, str, str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Return the longest run of equal items as (item, length).",
        "longest_run",
        "items",
        "best = (None, 0)\ncount = 0\nfor index, item in enumerate(items):\n"
        "    count = count + 1 if index and items[index - 1] == item else 1\n"
        "    if count > best[1]:\n        best = (item, count)\nreturn best",
        "return (items[0], items.count(items[0]))",
        (("'aabbbc'", "('b', 3)"), ("[4, 4, 1, 4, 4, 4]", "(4, 3)"), ("''", "(None, 0)")),
    ),
    (
        "Return the words of a text with the vowels of each in upper case.",
        "loud_vowels",
        "text",
        "out = []\nfor word in text.split():\n"
        "    out.append(''.join(c.upper() if c in 'aeiou' else c for c in word))\nreturn out",
        "return text.upper().split()",
        (("'green tea now'", "['grEEn', 'tEA', 'nOw']"), ("'sky high'", "['sky', 'hIgh']")),
    ),
    (
        "Return the numbers of a list that are larger than all before them.",
        "records",
        "values",
        "highest = None\nfound = []\nfor value in values:\n    if highest is None or value > highest:\n"
        "        highest = value\n        found.append(value)\nreturn found",
        "return sorted(values)",
        (("[3, 1, 4, 1, 5, 9, 2, 6]", "[3, 4, 5, 9]"), ("[12, 11, 17, 16, 40]", "[12, 17, 40]")),
    ),
    (
        "Return how often each letter occurs, as a dict, the most frequent first.",
        "letter_table",
        "text",
        "table = {}\nfor letter in text:\n    table[letter] = table.get(letter, 0) + 1\n"
        "order = sorted(table, key=lambda letter: (-table[letter], letter))\n"
        "return {letter: table[letter] for letter in order}",
        "return {letter: text.count(letter) for letter in text}",
        (("'banana'", "{'a': 3, 'n': 2, 'b': 1}"), ("'zzyx'", "{'z': 2, 'x': 1, 'y': 1}")),
    ),
)


def _code(rng: random.Random) -> Item:
    asked, name, parameters, body, wrong, cases = rng.choice(_PROGRAMS)
    solution, attempt = (
        f"def {name}({parameters}):\n" + "".join(f"    {line}\n" for line in text.split("\n")) for text in (body, wrong)
    )
    tests = tuple(f"assert {name}({given}) == {wanted}" for given, wanted in cases)
    question = f"{asked} Call the function `{name}({parameters})`."
    hidden = CodeTests("function", tests=tests, entry_points=(name,))
    near = tuple(given for given, _ in cases)
    return Item("code", question, "", f"```python\n{attempt}```", near, solution=solution, tests=hidden.to_json())


def _worked(rng: random.Random) -> Item:
    """A number with a worked solution."""
    name, a, b, c = rng.choice(NAMES), rng.randint(12, 60), rng.randint(3, 9), rng.randint(100, 900)
    value = a * b + c
    question = f"{name} buys {b} crates at {a} coins each and pays {c} coins for the cart. What is paid in all?"
    solution = (
        f"First work out the price of the crates alone: {b} crates at {a} coins each make {a * b} coins in total. "
        f"Then add the {c} coins for the cart to the {a * b} coins, so that {name} pays {value} coins in all."
    )
    item = _numeric("worked", question, value, rng)
    return Item("worked", question, item.reference, item.student, item.near, solution=solution)


DOMAINS: dict[str, Callable[[random.Random], Item]] = {
    "integer": _integer,
    "digit": _digit,
    "decimal": _decimal,
    "fraction": _fraction,
    "percent": _percent,
    "listed number": _listed_number,
    "money": _money,
    "algebra": _algebra,
    "word": _word,
    "listed word": _listed_word,
    "sentence": _sentence,
    "choice": _choice,
    "grid": _grid,
    "code": _code,
    "worked": _worked,
}
