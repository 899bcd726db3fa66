"""The listing of errors that no test meets: it finds them, and its exceptions are of functions that there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from never_raised import ROOT, UNREACHED, sites, unreached


def test_an_exception_names_a_function_that_raises() -> None:
    raising = set()
    for path in (ROOT / "rl2f_hub").rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        found = sites(ast.parse(path.read_text(encoding="utf-8"))).values()
        raising |= {f"{place} {name.partition(':')[0]}" for name in found}
    gone = [name for name in UNREACHED if name not in raising and not (ROOT / name).is_dir()]
    assert gone == [], "take these out of UNREACHED"


def test_what_was_raised_is_not_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import never_raised

    known = tmp_path / "raised.txt"
    monkeypatch.setattr(never_raised, "KNOWN", known)
    place, name = next(row for row in unreached("rl2f_hub/runtime/permits.py"))
    known.write_text(f"{place.partition(':')[0]} {name}\n")
    assert (place, name) not in unreached("rl2f_hub/runtime/permits.py")


def test_errors_for_users_are_one_line() -> None:
    """No text of a message has a line break of its own."""
    broken = []
    for path in (ROOT / "rl2f_hub").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UsageError", "RL2FError", "Refusal"):
                parts = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)]
                if any(isinstance(part, str) and "\n" in part for part in parts):
                    broken.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert broken == []
