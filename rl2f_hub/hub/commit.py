"""Everything of one push in one commit: what is there, what would change, then all of it or nothing.

`put` reads the repository, asks `make` for the files that it should hold, merges our card with the one on the Hub, and
commits additions, deletions and card at once on top of the very revision that it read. Files are uploaded before the
commit and become visible with it. When somebody else commits in between, it reads and asks again. A request that the
Hub refuses for the moment (429, 5xx, a broken connection) is repeated, not before the time that the Hub names; the
whole of it can be repeated too: what has arrived is not sent twice, and equal files make no commit. `plan` says what
`put` would do and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.card_merge import merge

T = TypeVar("T")
TRIES = 5
LONGEST_WAIT_S = 300.0
PICKLES = (".bin", ".pt", ".pth", ".pkl")
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin.index.json", ".h5", ".msgpack", ".gguf")
BESIDE_WEIGHTS = (
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja", "controls.json"),
)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository as it is now. `files`: path -> (size in bytes, sha256 or git's sha1). `head` is None without a repository."""

    repo_id: str
    repo_type: str
    head: str | None = None
    private: bool = False
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    api: Any = None

    def text(self, path: str) -> str | None:
        """The content of a small text file at `head`, None without it."""
        if path not in self.files:
            return None
        where = patiently(self.api.hf_hub_download, self.repo_id, path, repo_type=self.repo_type, revision=self.head)
        return Path(where).read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a repository should hold: `files` by path and a sealed `card`; paths, and configs of its card, to drop."""

    files: Mapping[str, Path | bytes]
    card: str | None = None
    drop: tuple[str, ...] = ()
    drop_configs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pushed:
    """`kept` and `removed` are the sections of the card in which the owner's hand was found; see card_merge."""

    revision: str
    url: str
    changed: bool
    kept: list[str]
    removed: list[str]


def look(api: Any, repo_id: str, repo_type: str, revision: str | None = None) -> Remote:
    """What is there. A repository that this token cannot see counts as none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = patiently(
            api.repo_info, repo_id, repo_type=repo_type, revision=revision, files_metadata=True, timeout=60
        )
    except RepositoryNotFoundError:
        return Remote(repo_id, repo_type, api=api)
    files = {
        s.rfilename: (
            s.size or 0,
            (s.lfs["sha256"] if isinstance(s.lfs, dict) else s.lfs.sha256) if s.lfs else s.blob_id,
        )
        for s in info.siblings or ()
    }
    return Remote(repo_id, repo_type, info.sha, bool(info.private), files, api)


def put(
    api: Any, repo_id: str, repo_type: str, make: Callable[[Remote], Contents], *, private: bool, message: str
) -> Pushed:
    """Creates the repository if need be, and brings it to what `make` says in one commit.

    Raises:
        UsageError: a public repository where a private one was asked for.
        HfHubHTTPError: whatever the Hub goes on refusing; `hub_errors` words it.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    url = str(patiently(api.create_repo, repo_id, repo_type=repo_type, private=private, exist_ok=True))
    for turn in range(TRIES):
        remote = look(api, repo_id, repo_type)
        check_visibility(remote, private)
        contents = make(remote)
        files, merged = _with_card(contents, remote)
        operations: list[Any] = [
            CommitOperationAdd(path, source if isinstance(source, bytes) else str(source))
            for path, source in files.items()
            if not same(source, remote.files.get(path))
        ]
        operations += [CommitOperationDelete(path) for path in contents.drop if path in remote.files]
        revision, changed = str(remote.head), bool(operations)
        if operations:
            try:
                commit = patiently(
                    api.create_commit,
                    repo_id,
                    operations,
                    commit_message=message,
                    repo_type=repo_type,
                    parent_commit=remote.head,
                )
            except HfHubHTTPError as error:
                if status_of(error) != 412 or turn == TRIES - 1:
                    raise
                continue  # somebody else (or our own lost answer) was first: look again
            revision = str(commit.oid)
        return Pushed(revision, url, changed, merged.kept if merged else [], merged.removed if merged else [])
    raise AssertionError("unreachable")


def plan(
    api: Any, repo_id: str, repo_type: str, make: Callable[[Remote], Contents], *, private: bool
) -> dict[str, Any]:
    """What `put` would do: {repo, creates, visibility, operations: [{do, path, bytes}], upload_bytes, card, ...}."""
    remote = look(api, repo_id, repo_type)
    check_visibility(remote, private)
    contents = make(remote)
    files, merged = _with_card(contents, remote)
    operations = []
    for path, source in files.items():
        verb = "keep" if same(source, remote.files.get(path)) else "change" if path in remote.files else "add"
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        operations.append({"do": verb, "path": path, "bytes": size})
    operations += [
        {"do": "delete", "path": path, "bytes": remote.files[path][0]} for path in contents.drop if path in remote.files
    ]
    sent = sum(int(str(o["bytes"])) for o in operations if o["do"] in ("add", "change"))
    visible = "private" if (private if remote.head is None else remote.private) else "public"
    return {
        "repo_id": repo_id,
        "repo_type": repo_type,
        "creates": remote.head is None,
        "visibility": visible,
        "operations": operations,
        "upload_bytes": sent,
        "card": merged.text if merged else None,
        "card_kept_by_hand": [*merged.kept, *merged.removed] if merged else [],
    }


def stale_model_files(remote: Remote, files: Collection[str]) -> tuple[str, ...]:
    """What a model's repository holds of another model: weights, tokenizer, what its trainer logged; pickles anywhere.

    A loader would find an index of shards that are gone, or a tokenizer that is not the base's.
    """
    there = [path for path in remote.files if path not in files]
    old = [path for path in there if "/" not in path and (path.endswith(WEIGHTS) or path in BESIDE_WEIGHTS)]
    return tuple(path for path in there if path in old or path.endswith(PICKLES) or path.startswith("trainer/"))


def same(source: Path | bytes, there: tuple[int, str] | None) -> bool:
    """Whether a local file is the one on the Hub, by size and by sha256 (large files) or git's sha1 (the others)."""
    if there is None or there[0] != (len(source) if isinstance(source, bytes) else source.stat().st_size):
        return False
    digest = hashlib.sha256() if len(there[1] or "") == 64 else _git_sha1(there[0])
    if isinstance(source, bytes):
        digest.update(source)
    else:
        with source.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest() == there[1]


def _git_sha1(size: int) -> Any:
    """Git's name of a file's content: the only digest that the Hub gives of small files."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def check_visibility(remote: Remote, private: bool) -> None:
    """
    Raises:
        UsageError: the repository is public, and the recipe says private.
    """
    if remote.head is not None and private and not remote.private:
        raise UsageError(
            f"hub.private: true, but {remote.repo_id} is public already; make it private on the Hub, choose another name, "
            "or say --set hub.private=false"
        )


def patiently(call: Callable[..., T], *args: Any, **named: Any) -> T:
    """`call(...)`, again after what the Hub refuses for the moment: not before its Retry-After, else after 0.5, 1, 2, ... s.

    A wait that would make more than LONGEST_WAIT_S in all is not begun: the refusal is raised.
    """
    import time

    waited = 0.0
    for turn in range(TRIES):
        try:
            return call(*args, **named)
        except Exception as error:
            wait = _wait(error, turn)
            if wait is None or turn == TRIES - 1 or waited + wait > LONGEST_WAIT_S:
                raise
            time.sleep(wait)
            waited += wait
    raise AssertionError("unreachable")


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of the client stands for."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _wait(error: Exception, turn: int) -> float | None:
    """Seconds until the call may be repeated; None for what repeating does not cure."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = status_of(error)
    if status is None:
        broken = isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "httpcore"))
        return 0.5 * 2**turn if broken and not isinstance(error, OfflineModeIsEnabled) else None
    if status not in _BUSY:
        return None
    said = error.response.headers.get("Retry-After", "")  # type: ignore[attr-defined]
    return max(float(said), 0.0) if said.replace(".", "", 1).isdigit() else 0.5 * 2**turn


def _with_card(contents: Contents, remote: Remote) -> tuple[dict[str, Path | bytes], Any]:
    if contents.card is None:
        return dict(contents.files), None
    merged = merge(contents.card, remote.text("README.md"), contents.drop_configs)
    return {**contents.files, "README.md": merged.text.encode()}, merged
