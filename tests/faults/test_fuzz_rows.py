"""Made-up rows and files of tasks and dialogues: read, counted, or refused in one line; none is lost uncounted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzzing import fuzz, refuses_or, values
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.publish.importing import Mapping, source_rows, write_import
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.tasks import Request, load_tasks, request_for, stream

COLUMNS = {"prompt": "q", "reference": "a", "solution": "s", "choices": "c"}
VERIFIERS = ("integer", "text", "choice", "math", "grid", "unit_tests")
rows = st.lists(
    st.one_of(
        values,
        st.fixed_dictionaries(
            {"q": values, "a": values}, optional={"s": values, "c": values, "verifier": values, "_config": values}
        ),
    ),
    max_size=6,
)


@fuzz
@given(rows=rows, verifier=st.sampled_from(VERIFIERS), named=st.sets(st.sampled_from(sorted(COLUMNS))))
def test_any_rows_become_tasks_or_are_counted(rows: list[Any], verifier: str, named: set[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    mapping = {name: COLUMNS[name] for name in named | {"prompt"}}

    def load(rule: str, count: int) -> tuple[list[Any], dict[str, Any]]:
        reports: list[dict[str, Any]] = []
        spec = SourceSpec(source=f"jsonl:{file}", count=count, verifier=verifier, on_bad_row=rule, **mapping)
        return load_tasks({"train": [spec]}, 1, reports)["train"], reports[0]

    refuses_or(lambda: load("fail", 1))
    for count in range(1, len(rows) + 1):
        found = refuses_or(lambda count=count: load("skip", count))
        if found is not None:
            tasks, report = found
            assert len(tasks) == count
            assert report["bad_rows"] + len(tasks) <= len(rows)
    spec = SourceSpec(source=f"jsonl:{file}", count=1, verifier=verifier, on_bad_row="skip", **mapping)
    all_counted(request_for(spec), len(rows))


@fuzz
@given(
    data=st.binary(max_size=300),
    kind=st.sampled_from(["jsonl", "csv", "parquet"]),
    rule=st.sampled_from(["fail", "skip"]),
)
def test_any_bytes_as_a_file_of_tasks(data: bytes, kind: str, rule: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.any"
    file.write_bytes(data)
    spec = SourceSpec(source=f"{kind}:{file}", count=1, on_bad_row=rule)
    refuses_or(lambda: load_tasks({"train": [spec]}, 1))


@fuzz
@given(table=st.lists(st.lists(st.text(max_size=12), max_size=4), max_size=6))
def test_any_table_as_csv(table: list[list[str]], tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["prompt", "reference"], *table])
    file = tmp_path / "tasks.csv"
    file.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    for rule in ("fail", "skip"):
        refuses_or(
            lambda rule=rule: load_tasks({"train": [SourceSpec(source=f"csv:{file}", count=1, on_bad_row=rule)]}, 1)
        )


# -- Parquet -------------------------------------------------------------------------------------------------------

TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.text(max_size=12)),
    (pa.large_string(), st.sampled_from(["7", "B", "A plum", ""])),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.binary(), st.binary(max_size=8)),
    (pa.list_(pa.string()), st.lists(st.text(max_size=6), max_size=4)),
    (pa.timestamp("us"), st.integers(-(2**63), 2**63 - 1)),
    (pa.duration("ns"), st.integers(-(2**63), 2**63 - 1)),
    (pa.decimal128(12, 3), st.decimals(-999_999, 999_999, places=3)),
    (pa.date32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.struct({"text": pa.list_(pa.string())}), st.fixed_dictionaries({"text": st.lists(st.text(max_size=4))})),
    (pa.null(), st.none()),
]
INTEGERS = ("timestamp", "duration", "date32")  # arrow takes any number of these; Python's own types do not


@st.composite
def columns(draw: st.DrawFn, names: tuple[str, ...]) -> pa.Table:
    rows = draw(st.integers(0, 6))
    made = {}
    for name in names:
        kind, value = draw(st.sampled_from(TYPES))
        drawn = draw(st.lists(st.none() | value, min_size=rows, max_size=rows))
        if str(kind).startswith(INTEGERS):
            small = pa.int32() if pa.types.is_date32(kind) else pa.int64()
            made[name] = pa.array(drawn, small).view(kind)
        elif kind == pa.string() and draw(st.booleans()):  # bytes that are no UTF-8, as broken writers leave them
            raw = pa.array(draw(st.lists(st.binary(max_size=6), min_size=rows, max_size=rows)), pa.binary())
            made[name] = raw.view(pa.string())
        else:
            made[name] = pa.array(drawn, kind)
    return pa.table(made)


def all_counted(request: Request, total: int) -> None:
    """Every row is a task, a bad row or one that was left out on purpose."""
    tasks = refuses_or(lambda: list(stream(request)))
    if tasks is not None:
        counted = [request.report.get(name, 0) for name in ("bad_rows", "filtered", "elsewhere")]
        assert len(tasks) + sum(counted) == total


@fuzz
@given(table=columns(("prompt", "reference", "c")), verifier=st.sampled_from(VERIFIERS), choose=st.booleans())
def test_any_columns_of_parquet_become_tasks_or_are_counted(
    table: pa.Table, verifier: str, choose: bool, tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(table, file)
    more = {"choices": "c"} if choose else {"where": {"c": ["7", 7, True, None]}}
    spec = SourceSpec(source=f"parquet:{file}", count=1, verifier=verifier, on_bad_row="skip", **more)
    all_counted(request_for(spec), table.num_rows)


WHOLE = io.BytesIO()
pq.write_table(
    pa.table(
        {
            "prompt": [f"What is {n} + 1?" for n in range(200)],
            "reference": [str(n + 1) for n in range(200)],
            "messages": [
                [{"role": r, "content": f"{r} {n}"} for r in ("user", "assistant", "user", "assistant")]
                for n in range(200)
            ],
        }
    ),
    WHOLE,
    row_group_size=64,
)
damages = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=4)


@fuzz
@given(damage=damages, end=st.just(1.0) | st.floats(0, 1), tail=st.binary(max_size=8), imported=st.booleans())
def test_a_damaged_parquet_file_is_read_or_refused(
    damage: list[tuple[float, bytes]], end: float, tail: bytes, imported: bool, tmp_path: Path
) -> None:
    data = bytearray(WHOLE.getvalue())
    for at, new in damage:
        start = int(at * len(data))
        data[start : start + len(new)] = new
    file = tmp_path / "damaged.parquet"
    file.write_bytes(bytes(data[: int(end * len(data))]) + tail)
    if imported:
        refuses_or(lambda: imports(f"parquet:{file}", tmp_path))
    else:
        spec = SourceSpec(source=f"parquet:{file}", count=1, verifier="integer", on_bad_row="skip")
        refuses_or(lambda: list(stream(request_for(spec))))


# -- other people's conversations ----------------------------------------------------------------------------------

messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool"]),
            "content": st.text(max_size=8),
        }
    ),
    max_size=6,
)
conversations = st.one_of(
    values,
    st.fixed_dictionaries({"messages": messages}, optional={"ok": values, "id": values}),
    st.fixed_dictionaries({"messages": messages.map(json.dumps)}, optional={"ok": st.booleans()}),
)


def imports(source: str, folder: Path, **mapping: str) -> dict[str, Any]:
    rows, _ = source_rows(source, None, None, None)
    return write_import(rows, Mapping(**mapping), folder / "made", "x")


@fuzz
@given(rows=st.lists(conversations, max_size=30), named=st.sets(st.sampled_from(["id", "correct"])))
def test_any_conversations_are_imported_or_counted(rows: list[Any], named: set[str], tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = {"id": "id", "correct": "ok"}
    made = refuses_or(lambda: imports(f"jsonl:{file}", tmp_path, **{name: columns[name] for name in named}))
    if made is not None:
        assert made["rows"]["dialogues/train"] + sum(made["left_out"].values()) == len(rows)
