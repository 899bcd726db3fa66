"""Rows of code problems with tests -> `CodeTests`: MBPP, APPS, Codeforces, LiveCodeBench. Form: see `converters.py`.

Texts of a row become programs and test code; they run in the sandbox only. Nothing is unpickled: see `_private_cases`.
"""

from __future__ import annotations

import ast
import base64
import binascii
import builtins
import json
import pickletools
import zlib
from typing import Any

from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.tasks.converters import Row, string_of, strings_of

MAX_TESTS_BYTES = 64 << 20  # of one problem's unpacked tests: the archive of a row is outside data too
STDIO = "\n\nWrite a Python program that reads the input from standard input and prints the answer to standard output."
# What the graders of APPS (testing_util.py) and LiveCodeBench (testing_utils.py) import before an attempt runs, less numpy,
# which the sandbox does not have.
_APPS_PRELUDE = """
import sys, time, itertools, collections, math, fractions, random, heapq
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import *
from heapq import *
"""
_LCB_MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json "
    "builtins typing"
).split()
_LCB_PRELUDE = "\n".join(
    [f"from {name} import *" for name in _LCB_MODULES]
    + [f"import {', '.join(_LCB_MODULES)}", "sys.setrecursionlimit(50000)"]
)
# JSON knows neither tuples nor sets; APPS also writes the expected value as a list with it alone. Floats may be off as
# numbers in standard output may (`sandbox/output.py`).
_SAME = """
import math
from collections import deque


def _same(got, wanted, boxed=False):
    if boxed and isinstance(wanted, list) and len(wanted) == 1 and _same(got, wanted[0]):
        return True
    if isinstance(wanted, list):
        same = isinstance(got, (list, tuple, deque)) and len(got) == len(wanted)
        return same and all(_same(a, b) for a, b in zip(got, wanted))
    if isinstance(wanted, dict):
        same = isinstance(got, dict) and len(got) == len(wanted)
        keys = {str(key): key for key in got} if same else {}
        return same and all(key in keys and _same(got[keys[key]], item) for key, item in wanted.items())
    if isinstance(wanted, float):
        number = not isinstance(got, (str, bytes, list, tuple, dict, set, type(None)))
        if not number:
            return False
        return math.isclose(got, wanted, rel_tol=1e-6, abs_tol=1e-6) or (got != got and wanted != wanted)
    return got == wanted
"""


def mbpp(row: Row, config: Row) -> Row:
    """Both configurations: `full` (text, test_setup_code) and `sanitized` (prompt, test_imports)."""
    full = "text" in row
    statement = string_of(row, "text" if full else "prompt")
    setup = string_of(row, "test_setup_code") if full else "\n".join(strings_of(row, "test_imports"))
    tests = strings_of(row, "test_list") + (strings_of(row, "challenge_test_list") if full else [])
    solution = string_of(row, "code").replace("\r\n", "\n")
    called = _called("\n".join(tests)) - _names(setup)
    names = sorted(called & _defined(solution)) or sorted(called)
    if not names:
        raise ValueError("the tests call no function of the solution")
    named = f"Define {'the function ' if len(names) == 1 else ''}{', '.join(f'`{name}`' for name in names)}."
    prompt = f"{statement.strip()}\n\n{named} This must hold, among others:\n{tests[0].strip()}"
    code = CodeTests("function", setup, tuple(tests), tuple(names))
    return row | {"_prompt": prompt, "_solution": solution, "_tests": code.to_json()}


def apps(row: Row, config: Row) -> Row | None:
    """Programs (`inputs`, `outputs` as text) and, with `fn_name`, functions. Problems without tests are left out."""
    packed = string_of(row, "input_output")
    try:
        tests = json.loads(packed) if packed.strip() else {}
    except (ValueError, RecursionError):
        return None  # some rows hold numbers longer than Python reads
    inputs, outputs = (tests.get("inputs"), tests.get("outputs")) if isinstance(tests, dict) else (None, None)
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs or len(inputs) != len(outputs):
        return None
    pairs = _limited(list(zip(inputs, outputs, strict=True)), config)
    solution = next(iter(_solutions(row)), "")
    question = string_of(row, "question").strip()
    made = row | {"_config": {"prelude": _APPS_PRELUDE}}
    if not (name := tests.get("fn_name")):
        code = CodeTests("stdio", cases=tuple((_lines(given), _lines(wanted)) for given, wanted in pairs))
        return made | {"_prompt": question + STDIO, "_solution": solution, "_tests": code.to_json()}
    if any(not isinstance(arguments, list) for arguments, _ in pairs):
        return None
    starter = row.get("starter_code") or ""
    prompt = question + _function_wanted(name, starter)
    return made | {"_prompt": prompt, "_solution": solution, "_tests": _calls(name, pairs, boxed=True)}


def codeforces(row: Row, config: Row) -> Row | None:
    """Problems with complete tests on standard input whose answer is unique (no checker program, no interaction)."""
    if row.get("input_mode") != "stdio" or not row.get("official_tests_complete"):
        return None
    if row.get("interaction_format") or row.get("generated_checker") or not row.get("official_tests"):
        return None
    parts = [f"{string_of(row, 'title')}\n\n{string_of(row, 'description')}"]
    for column, head in (("input_format", "Input"), ("output_format", "Output"), ("note", "Note")):
        if row.get(column):
            parts.append(f"{head}\n{row[column]}")
    for given, wanted in _cases(row.get("examples") or []):
        parts.append(f"Example input\n{given.rstrip()}\nExample output\n{wanted.rstrip()}")
    code = CodeTests("stdio", cases=tuple(_limited(_cases(row["official_tests"]), config)))
    return row | {"_prompt": "\n\n".join(parts) + STDIO, "_tests": code.to_json()}


def live_code_bench(row: Row, config: Row) -> Row:
    """Public and private tests; `functional` ones call the function that `metadata` names, with JSON arguments."""
    public, private = string_of(row, "public_test_cases"), string_of(row, "private_test_cases")
    tests = [*_json_list(public, "public_test_cases"), *_json_list(_private_cases(private), "private_test_cases")]
    if not tests or not all(isinstance(test, dict) for test in tests):
        raise ValueError("column 'public_test_cases' holds no tests")
    pairs = _limited(_cases(tests), config)
    question = string_of(row, "question_content").strip()
    made = row | {"_config": {"prelude": _LCB_PRELUDE}}
    if tests[0].get("testtype") != "functional":
        return made | {"_prompt": question + STDIO, "_tests": CodeTests("stdio", cases=tuple(pairs)).to_json()}
    name = _json(string_of(row, "metadata"), "metadata").get("func_name")
    calls = [
        (
            [_json(line, "input of a test") for line in given.split("\n") if line.strip()],
            _json(wanted, "output of a test"),
        )
        for given, wanted in pairs
    ]
    prompt = question + _function_wanted(name, string_of(row, "starter_code"))
    return made | {"_prompt": prompt, "_tests": _calls(name, calls)}


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: not JSON ({error})") from None


def _json_list(text: str, what: str) -> list[Any]:
    value = _json(text, what) if text.strip() else []
    if not isinstance(value, list):
        raise ValueError(f"{what}: not a list of tests")
    return value


def _limited(cases: list[Any], config: Row) -> list[Any]:
    """The first `max_cases` of a problem's tests: fewer are quicker and let more wrong programs pass."""
    most = config.get("max_cases")
    if most is not None and (type(most) is not int or most < 1):
        raise ValueError(f"config.max_cases is {most!r}, a whole number of at least 1 is needed")
    return cases[:most]


def _cases(tests: list[Any]) -> list[tuple[str, str]]:
    pairs = [(t.get("input"), t.get("output")) if isinstance(t, dict) else (None, None) for t in tests]
    out = [(given, wanted) for given, wanted in pairs if isinstance(given, str) and isinstance(wanted, str)]
    if len(out) != len(pairs):
        raise ValueError("a test has no text as `input` or `output`")
    return out


def _lines(value: Any) -> str:
    """Standard input or output as APPS writes it: a text, or a list of lines."""
    if isinstance(value, list):
        return "\n".join(_lines(line) for line in value)
    return value if isinstance(value, str) else json.dumps(value)


def _solutions(row: Row) -> list[str]:
    text = row.get("solutions") or "[]"
    found = _json(text, "column 'solutions'") if isinstance(text, str) else []
    return [s for s in found if isinstance(s, str)] if isinstance(found, list) else []


def _private_cases(packed: str) -> str:
    """LiveCodeBench's private tests: JSON text, or base64 of zlib of a pickle of that text.

    A pickle is a program. It is read opcode by opcode here and never run: only one that does nothing but push a
    single text is accepted.
    """
    if not packed.strip() or packed.lstrip().startswith("["):
        return packed
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(base64.b64decode(packed, validate=True), MAX_TESTS_BYTES)
        if inflate.unconsumed_tail:
            raise ValueError(f"more than {MAX_TESTS_BYTES >> 20} MiB")
        texts = []
        for opcode, argument, _ in pickletools.genops(raw):
            if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"):
                texts.append(argument)
            elif opcode.name not in ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"):
                raise ValueError(f"its pickle does more than name a text ({opcode.name})")
        if len(texts) != 1:
            raise ValueError("its pickle is not one text")
        return str(texts[0])
    except (ValueError, zlib.error, binascii.Error) as error:
        raise ValueError(f"column 'private_test_cases' cannot be read: {error}") from None


def _parsed(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not valid Python: {error}") from None


def _defined(code: str) -> set[str]:
    """Names that a program binds at its top level: functions, classes, variables."""
    body = _parsed(code).body
    found = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return found | {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}


def _names(code: str) -> set[str]:
    """`_defined`, and what the code imports."""
    imports = [n for n in ast.walk(_parsed(code)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return _defined(code) | {(a.asname or a.name).split(".")[0] for n in imports for a in n.names}


def _called(code: str) -> set[str]:
    calls = [n.func for n in ast.walk(_parsed(code)) if isinstance(n, ast.Call)]
    return {f.id for f in calls if isinstance(f, ast.Name)} - set(dir(builtins))


def _calls(name: Any, pairs: list[tuple[list[Any], Any]], boxed: bool = False) -> str:
    """Tests that call one function with the arguments of each pair and compare the result."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the function to test is named {name!r}")
    more = ", boxed=True" if boxed else ""
    tests = [f"assert _same({name}({', '.join(map(repr, args))}), {wanted!r}{more})" for args, wanted in pairs]
    setup = _SAME + "\n\nnan, inf = float('nan'), float('inf')\n"
    return CodeTests("function", setup, tuple(tests), (name,)).to_json()


def _function_wanted(name: Any, starter: str) -> str:
    """The sentence that asks for a function, with its signature where the starter code tells it."""
    signature = _signature(str(name), starter)
    text = f"\n\nWrite a Python function `{name}` (a plain function, not a method of a class)."
    return text + (f" Its first line:\n{signature}" if signature else "")


def _signature(name: str, starter: str) -> str:
    """`def name(...)` of the starter code, out of its class and without types that need an import."""
    text = starter.replace("\r\n", "\n").rstrip()
    for candidate in (text, text + "\n        pass", text + "\n    pass"):
        try:
            tree = ast.parse(candidate)
            break
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    else:
        return ""
    found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name), None)
    if found is None:
        return ""
    found.args.args = [a for a in found.args.args if a.arg != "self"]
    found.body, found.decorator_list = [ast.Pass()], []
    for node in ast.walk(found):
        if isinstance(node, ast.Name) and node.id in ("List", "Dict", "Tuple", "Set"):
            node.id = node.id.lower()
    if any(isinstance(n, ast.Name) and n.id not in dir(builtins) for n in ast.walk(found)):
        for argument in found.args.args:
            argument.annotation = None
        found.returns = None
    return ast.unparse(found).split("\n")[0]
