"""The audit of the guard: the set is frozen, the figures keep their bounds, and the command says and returns them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rl2f_hub.cli.teachers import BEGIN, END, app
from rl2f_hub.errors import UsageError
from rl2f_hub.records import fingerprint
from rl2f_hub.teachers.audit import Audit, Tally, audit, interval, read_rows, table
from rl2f_hub.teachers.audit.items import DOMAINS
from rl2f_hub.teachers.audit.make import HALVES, LATE, half_of, rows
from rl2f_hub.teachers.audit.phrases import CLEAN, STATEMENTS
from rl2f_hub.teachers.audit.spellings import PHRASES
from rl2f_hub.teachers.audit.whole import WHOLE

# Of all rows but the scripted teacher's words, which may change with it. A new set needs new figures in docs/guard.md.
FROZEN = "7b55caa6c7d65c76fe6ef95cc126397d5df73982aa826d81795e6c52b9bee607"
ROW = {"question": "What is 12 * 34?", "reference": "408", "student": "406"}


@pytest.fixture(scope="module")
def the_set() -> list[dict[str, Any]]:
    return rows()


@pytest.fixture(scope="module")
def result(the_set: list[dict[str, Any]]) -> Audit:
    return audit(the_set)


def test_the_set_is_frozen(the_set: list[dict[str, Any]]) -> None:
    assert fingerprint(row for row in the_set if row["form"] != "scripted") == FROZEN


def test_the_set_is_large_and_holds_every_domain_form_and_kind(the_set: list[dict[str, Any]]) -> None:
    count = Counter((row["leak"], row["half"]) for row in the_set)
    assert all(count[leak, half] >= 500 for leak in (True, False) for half in HALVES)
    for half in HALVES:
        mine = [row for row in the_set if row["half"] == half]
        assert {row["form"] for row in mine if row["leak"]} == set(PHRASES) | set(WHOLE)
        assert {row["form"] for row in mine if not row["leak"]} == set(CLEAN) | {"scripted"}
        assert {row["domain"] for row in mine if row["leak"]} == set(DOMAINS)
        assert {row["domain"] for row in mine if not row["leak"]} == set(DOMAINS)


def test_the_halves_share_no_sentence_and_leave_none_out() -> None:
    for sentences in (STATEMENTS, *CLEAN.values()):
        seen, held_out = (half_of(sentences, "group", half) for half in HALVES)
        assert not set(seen) & set(held_out)
        assert sorted(seen + held_out) == sorted(sentences)
        assert abs(len(seen) - len(held_out)) <= 1


@pytest.mark.parametrize("half", HALVES)
def test_the_bounds_hold_in_both_halves(half: str, result: Audit) -> None:
    assert result.tally(True, half=half).share >= 0.98
    assert result.tally(False, half=half).share <= 0.02


def test_sentences_of_later_are_reported_apart_and_do_worse(result: Audit) -> None:
    """The detectors were not made for them: the honest figure for words that nobody foresaw."""
    assert result.tally(True, half=LATE).n == 280
    assert 0.9 <= result.tally(True, half=LATE).share <= result.tally(True, half="held_out").share
    assert result.tally(False, half=LATE).share <= 0.02


def test_no_form_is_missed_as_a_whole(result: Audit) -> None:
    for form in (form for form in result.forms(True) if not form.startswith("late")):
        tally = result.tally(True, form)
        assert tally.n >= 60
        assert tally.share >= 0.9, form


def test_another_seed_makes_other_rows_within_the_bounds(the_set: list[dict[str, Any]]) -> None:
    others = rows(300, 300, seed=77)
    assert not {r["feedback"] + r["question"] for r in others if r["leak"]} <= {
        r["feedback"] + r["question"] for r in the_set
    }
    other = audit(row for row in others if row["half"] in HALVES)
    assert other.recall >= 0.98
    assert other.false_positive_rate <= 0.02


def test_the_figures_are_counts_of_the_rows() -> None:
    said = [("It is 408.", True), ("Too low.", True), ("Too low.", False), ("It is 408.", False)]
    judged = audit([ROW | {"feedback": text, "leak": leak, "form": "f"} for text, leak in said])
    assert (judged.recall, judged.false_positive_rate) == (0.5, 0.5)
    assert [(r["feedback"], r["leak"]) for r in judged.wrong] == [said[1], said[3]]
    row = judged.to_row()
    assert row["forms"]["f"]["n"] == row["clean_kinds"]["f"]["n"] == 2
    cells = [cell for line in table(judged, "x")[1:] for cell in line[2:]]
    assert all("n = " in cell for cell in cells)


def test_intervals() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(50, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert interval(10, 10)[1] == pytest.approx(1.0)
    assert interval(0, 10)[0] == pytest.approx(0.0)
    assert Tally(4, 1).to_row()["share"] == 0.25


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"leak": "yes"}, "leak"),
        ({"feedback": None}, "feedback"),
        ({"reference": 408}, "reference"),
        ({"form": 3}, "form"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], word: str) -> None:
    good = ROW | {"feedback": "x", "leak": True}
    with pytest.raises(UsageError, match=f"^row 2: '{word}'"):
        audit([good, good | change])


@pytest.mark.parametrize("text", ["", "\n", "[1]\n", "{\n", '{"a": 1}\nno\n'])
def test_a_bad_file_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"^--file: ") as caught:
        read_rows(file)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", "binary", "."):
        with pytest.raises(UsageError, match=r"^--file: "):
            read_rows(tmp_path / name)


# -- the command ---------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["audit", *arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    said = [("It is 408.", True)] * 3 + [("The colour of grass.", True), ("Too low.", False)]
    path.write_text("".join(json.dumps(ROW | {"feedback": t, "leak": k}) + "\n" for t, k in said))
    return path


def test_a_file_of_ones_own_is_measured(file: Path) -> None:
    done = run("--file", str(file), "--json")
    out = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (out["ok"], out["recall"], out["false_positive_rate"]) == (False, 0.75, 0.0)
    assert out["leaking"]["n"] == 4
    assert out["forms"]["unnamed"]["flagged"] == 3


def test_bounds_decide_the_exit_code(file: Path) -> None:
    assert run("--file", str(file), "--min-recall", "0.75").exit_code == 0
    assert run("--file", str(file), "--min-recall", "0.76").exit_code == 1
    file.write_text(json.dumps(ROW | {"feedback": "It is 408.", "leak": False}) + "\n")
    assert run("--file", str(file)).exit_code == 1
    assert run("--file", str(file), "--max-false-positives", "1").exit_code == 0


def test_what_was_judged_wrong_is_shown_without_control_characters(file: Path) -> None:
    file.write_text(json.dumps(ROW | {"feedback": "green \x1b[2J grass", "leak": True}) + "\n")
    done = run("--file", str(file), "--show", "5")
    assert "leak missed" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_generated_set_is_the_default_and_its_table_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    done = run("--leaking", "60", "--clean", "60", "--table", str(page), "--min-recall", "0.9")
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\nAfter\n")
    assert "old" not in text
    assert "held out" in text
    lines = [line for line in text.split("\n") if line.startswith("|")][2:]
    assert all(cell.count("n = ") == 1 for line in lines for cell in line.strip("|").split("|")[2:])
    again = text
    run("--leaking", "60", "--clean", "60", "--table", str(page), "--min-recall", "0.9")
    assert page.read_text() == again


def test_a_table_is_never_written_over_other_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Mine\n")
    done = run("--leaking", "1", "--clean", "1", "--table", str(page))
    assert isinstance(done.exception, UsageError)
    assert page.read_text() == "# Mine\n"


def test_rows_written_without_the_detectors_at_hand_keep_their_figures() -> None:
    """`docs/guard.md` says what was found at first look; the evasive ones are for a judge, and are not bounded."""
    found = audit(read_rows(Path(__file__).parent / "data" / "guard_rows.jsonl"))
    forms = set(found.forms(True)) - {"evasive"}
    claimed = [found.tally(True, form, None) for form in forms]
    assert sum(t.flagged for t in claimed) >= 0.95 * sum(t.n for t in claimed)
    assert found.false_positive_rate <= 0.02
