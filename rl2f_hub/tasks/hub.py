"""Tasks from any data set on the Hub: `source: "hub:<owner/name>"` with its columns by name, or a preset.

The revision is resolved to a commit first, everything is read at that commit, and the commit is in the report (and so
in the manifest). A recipe that names no full commit is not pinned: allowed, with a warning that prints the commit to
write down. A run that is resumed reads the tasks in its own folder, not the Hub again.

Rows come in the data set's order and are numbered from 0, as the Hub's viewer shows them. Without `split` the only
split is taken, or `train`. Only Parquet, JSON and CSV files are read: no loading script and no pickle ever runs, and a
folder that happens to have the data set's name is not taken for it. CSV is read as `csv:` reads it: every value is text.

Left out: slices in `split` (use `count`), columns of images or audio, several subsets at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.hub.errors import reading_errors
from rl2f_hub.recipe.task_sections import COLUMN_FIELDS
from rl2f_hub.records import Task
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.columns import rows_to_tasks
from rl2f_hub.tasks.local import csv_rows, text_lines
from rl2f_hub.tasks.presets import PRESETS, Preset

log = logging.getLogger(__name__)
CSV_READ = ("sep", "delimiter", "name", "version", "data_dir", "data_files", "description", "features")
FORMATS = ("parquet", "json", "csv")  # what may be read; `pandas`, for one, would unpickle


def tasks(request: Request) -> Iterator[Task]:
    """The data set's tasks in its order.

    Raises:
        UsageError: no such data set, revision, subset, split or column, or a split larger than `max_rows`.
        RL2FError: the Hub cannot be reached or refuses.
    """
    spec = request.spec
    preset = _preset(request)
    if spec.prompt is None:
        raise UsageError(f"{request.at}.prompt: name the column (or a template of columns) that is the question")
    if spec.reference is None and spec.tests is None:
        raise UsageError(f"{request.at}.reference: name the column that holds the answer (or `tests`)")
    unknown = set(spec.config) - set(preset.settings if preset else ())
    if unknown:
        raise UsageError(f"{request.at}.config: {sorted(unknown)[0]!r} is no setting of {spec.preset or spec.source}")
    with reading_errors(request.at, request.name, spec.revision):
        commit, files = _resolve(request)
        builder = _builder(request, preset, commit, files)
        split = _split(request, [str(name) for name in builder.config.data_files])
        rows = _rows(request, builder, split)
    prefix = "-".join(filter(None, [request.name.split("/")[-1], spec.subset, split]))
    convert = partial(_convert, preset, spec.config) if preset else None
    unreadable = preset is not None and preset.leave_out_unreadable
    yield from rows_to_tasks(rows, request, prefix=prefix, convert=convert, leave_out_unreadable=unreadable)


def hub_rows(request: Request) -> Iterator[tuple[int, Any]]:
    """(number, row) of a data set as its rows are, for what maps columns of its own. Errors as in `tasks`."""
    with reading_errors(request.at, request.name, request.spec.revision):
        commit, files = _resolve(request)
        builder = _builder(request, None, commit, files)
        return _rows(request, builder, _split(request, [str(name) for name in builder.config.data_files]))


def _preset(request: Request) -> Preset | None:
    name = request.spec.preset
    if name is not None and name not in PRESETS:
        raise UsageError(f"{request.at}.preset: {name!r} is unknown{did_you_mean(name, PRESETS)}")
    return PRESETS[name] if name is not None else None


def _convert(preset: Preset, config: dict[str, Any], row: dict[str, Any]) -> dict[str, Any] | None:
    converted = preset.convert(row, config) if preset.convert else row
    return None if converted is None else {"_domain": preset.domain} | converted


def _resolve(request: Request) -> tuple[str, list[str]]:
    """The commit behind the revision, and the files there."""
    from huggingface_hub import HfApi

    asked = request.spec.revision
    info = HfApi().dataset_info(request.name, revision=asked or "main")
    commit = str(info.sha)
    pinned = asked is not None and re.fullmatch(r"[0-9a-f]{40}", asked) is not None
    request.report |= {"revision": commit, "pinned": pinned}
    if not pinned:
        log.warning(
            "%s: %s is not pinned (%s may move); to get the same rows again, write `revision: %s`",
            request.at,
            request.name,
            asked or "main",
            commit,
        )
    return commit, [file.rfilename for file in info.siblings or ()]


def _builder(request: Request, preset: Preset | None, commit: str, files: list[str]) -> Any:
    """The data set at that commit, nothing downloaded yet but its card."""
    from datasets import get_dataset_config_names, load_dataset_builder

    path, subset = f"hf://datasets/{request.name}", request.spec.subset
    if preset is not None and preset.files and request.spec.source == preset.source:
        return _from_files(request, preset, commit, files)
    script = request.name.split("/")[-1] + ".py"
    if script in files:
        raise UsageError(
            f"{request.at}.source: {request.name} needs its own program {script!r} to be read, and no data set's program "
            "is run; use a copy of it in Parquet or JSON"
        )
    try:
        builder = load_dataset_builder(path, subset, revision=commit)
    except ValueError:
        known = get_dataset_config_names(path, revision=commit)
        if subset in known or (subset is None and len(known) < 2):
            raise
        what = (
            f"no subset {subset!r}{did_you_mean(subset, known)}"
            if subset
            else f"`subset` is needed: {', '.join(known)}"
        )
        raise UsageError(f"{request.at}.subset: {request.name}: {what}") from None
    if builder.name not in FORMATS:
        raise UsageError(
            f"{request.at}.source: {request.name} holds files of the kind {builder.name!r}; only {', '.join(FORMATS)} are read"
        )
    urls = [str(url) for of_split in (builder.config.data_files or {}).values() for url in of_split]
    if not urls or any(f"@{commit}/" not in url for url in urls):  # the library may fall back on an old cached copy
        raise UsageError(f"{request.at}: {request.name} could not be read at {commit}; run again when the Hub answers")
    return builder


def _from_files(request: Request, preset: Preset, commit: str, there: list[str]) -> Any:
    """A data set that has a loading script on the Hub, by the files that the script would read."""
    from datasets import load_dataset_builder

    subset = request.spec.subset or next(iter(preset.files))
    if subset not in preset.files:
        raise UsageError(f"{request.at}.subset: no subset {subset!r}{did_you_mean(subset, preset.files)}")
    base = f"hf://datasets/{request.name}@{commit}/"
    files = preset.files[subset]
    split = _split(request, list(files))  # the other splits' files are not asked for
    if gone := [name for name in files[split] if name not in there]:
        raise UsageError(
            f"{request.at}.revision: {request.name} has no file {gone[0]!r} at {commit}; name another commit"
        )
    return load_dataset_builder("json", data_files={split: [base + name for name in files[split]]})


def _split(request: Request, known: list[str]) -> str:
    split = request.spec.split or (known[0] if len(known) == 1 else "train")
    if split not in known:
        given = f"no split {split!r}" if request.spec.split else "`split` is needed"
        raise UsageError(f"{request.at}.split: {request.name}: {given}{did_you_mean(split, known)}")
    request.report |= {"subset": request.spec.subset or "", "rows_of": split}
    return split


def _rows(request: Request, builder: Any, split: str) -> Iterator[tuple[int, Any]]:
    """Checks size and columns, then gives an iterator of (number, row)."""
    spec = request.spec
    request.report["streaming"] = spec.streaming
    if builder.name == "csv":
        return _guarded(request, _csv(request, builder, split))
    known = (builder.info.splits or {}).get(split)
    _not_too_many(request, split, known.num_examples if known is not None else None)
    if spec.streaming:
        rows = builder.as_streaming_dataset(split=split)
    else:  # as `load_dataset` does, but without a second look at which files there are
        builder.download_and_prepare()
        rows = builder.as_dataset(split=split)
        _not_too_many(request, split, len(rows))
    _columns_exist(request, list(rows.features or ()))
    return _guarded(request, rows)


def _csv(request: Request, builder: Any, split: str) -> Iterator[Any]:
    """Rows of CSV files as texts: the library would guess types, and so make 7 of 007 and nothing of NA."""
    import fsspec
    from huggingface_hub import hf_hub_download

    commit, config = request.report["revision"], builder.config
    if told := {
        name: value
        for name, value in vars(config).items()
        if name not in CSV_READ and value != vars(type(config)())[name]
    }:
        raise UsageError(
            f"{request.at}.source: the card of {request.name} sets {sorted(told)[0]!r} for its CSV files, which is not read; "
            "use a copy of it in Parquet or JSON"
        )
    number = 0
    for url in map(str, config.data_files[split]):
        path = url.partition(f"@{commit}/")[2]
        where = (
            url if request.spec.streaming else hf_hub_download(request.name, path, repo_type="dataset", revision=commit)
        )
        with fsspec.open(where, "rb", compression="infer") as raw:
            at = f"{request.at}: {request.name}, {path}"
            for _, row in csv_rows(text_lines(raw, at), at, None if config.sep == "," else config.sep):
                if isinstance(row, dict) and not number:
                    _columns_exist(request, list(row))
                number += 1
                _not_too_many(request, split, number)
                yield row


def _guarded(request: Request, rows: Any) -> Iterator[tuple[int, Any]]:
    """Rows with their numbers; what goes wrong on the way (streaming downloads as it goes) is one line."""
    with reading_errors(request.at, request.name, request.spec.revision):
        yield from enumerate(rows)


def _not_too_many(request: Request, split: str, rows: int | None) -> None:
    if rows is not None and rows > request.spec.max_rows and not request.spec.streaming:
        raise UsageError(
            f"{request.at}.max_rows: {request.name}, split {split}, has {rows} rows, more than {request.spec.max_rows}; "
            "set `streaming: true` or raise `max_rows`"
        )


def _columns_exist(request: Request, columns: list[str]) -> None:
    """A column that no row has is the recipe's mistake, whatever `on_bad_row` says."""
    if not columns:
        return  # a stream whose columns are not known before its first row
    converted = (preset := _preset(request)) is not None and preset.convert is not None  # it makes columns of its own
    named = [(field, getattr(request.spec, field)) for field in COLUMN_FIELDS]
    wanted = [(field, name) for field, name in named if name is not None]
    wanted += [(f"where.{name}", name) for name in request.spec.where]
    for field, name in wanted:
        parts = re.findall(r"\{([A-Za-z_][\w. ]*)\}", name) if field == "prompt" and "{" in name else [name]
        for part in parts:
            if not (converted and field in COLUMN_FIELDS) and part not in columns and part.split(".")[0] not in columns:
                raise UsageError(
                    f"{request.at}.{field}: {request.name} has no column {part!r}{did_you_mean(part, columns)}"
                )
