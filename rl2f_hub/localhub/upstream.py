"""Copy repositories of a root to another Hub, huggingface.co by default: plan first, then do what the plan says.

The root is read from its folder: no local server runs or is asked, so the token for the other Hub has nowhere else to
go, and the root's own tokens are refused as tokens for it. What is copied is the head of `main`, in one commit, with
the tags that point at it, the visibility and the gate. Inside cards and evaluation files the ids and head commits of
the repositories that are copied together are written as they are over there: datasets first, then models, then
Spaces, so that every link can be exact.

A repository over there that has commits of others is not written to, unless `overwrite` says so; files that only it
has stay. `upstream.json` in the root says which commit over there was ours. Left out: history, branches, pull
requests, discussions, collections, and settings of Spaces beside their SDK.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rl2f_hub.errors import RL2FError, UsageError

from .blobs import git_oid, write_atomically
from .history import Repo, held
from .names import URL_PREFIX
from .refusal import Refusal
from .store import Store
from .tree import Entry
from .users import Users

if TYPE_CHECKING:
    from huggingface_hub import HfApi

REAL = "https://huggingface.co"
ORDER = ("dataset", "model", "space")
LOCAL_TOKEN = "hf_localhub"
_TEXT_BYTES = 2 * 1024 * 1024
# An id stands alone or after these parts of a Hub's addresses; `me/x` is neither in `some/me/x` nor in `me/x-2`.
_BEFORE_ID, _AFTER_ID = r"(^|[^\w./-]|(?:datasets|spaces|models|huggingface\.co)/)", r"(?![\w.-]*\w)"
_SHA = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


@dataclass
class Plan:
    """What will be done with one repository. `files` are (operation, path, bytes); operation is add, change or same."""

    kind: str
    source: str
    target: str
    private: bool
    gated: Any  # False, "auto" or "manual"
    exists: bool | None  # None: the other Hub was not asked
    files: list[tuple[str, str, int]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str | None = None
    parent: str | None = None

    @property
    def bytes(self) -> int:
        """What has to be sent, at most: the other Hub may have some of it already."""
        return sum(size for what, _, size in self.files if what != "same")

    def row(self) -> dict[str, Any]:
        fields = ("kind", "source", "target", "private", "gated", "exists", "tags", "notes", "refused")
        rows = [{"operation": what, "path": path, "bytes": size} for what, path, size in self.files]
        return {name: getattr(self, name) for name in fields} | {"bytes": self.bytes, "files": rows}


def is_near(host: str) -> bool:
    """Whether a host is this machine or one of its own network, where the real Hub cannot be."""
    try:
        return ip_address(host).is_private  # loopback too
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local"))


def check_token(root: Path, endpoint: str, token: str | None) -> None:
    """A token of a local Hub never goes to the real one, a real one never to a server on this machine or network."""
    host = urlsplit(endpoint).hostname or ""
    if token is None:
        return
    if Users(root).by_token(token) is not None:
        raise UsageError(f"HF_TOKEN is a token of the local Hub in {root}: set the one for {endpoint}")
    local, real = token.startswith(LOCAL_TOKEN), f".{host}".endswith((".huggingface.co", ".hf.co"))
    if (local and real) or (not local and is_near(host)):
        what = "a local Hub" if local else "the real Hub"
        raise UsageError(f"HF_TOKEN is a token of {what} and is not sent to {endpoint}: set the one for {endpoint}")


def chosen(root: Path, names: list[str]) -> list[Repo]:
    """Repositories by `namespace/name`, with `datasets/` or `spaces/` in front when it is one; all without names."""
    store, found = Store(root), []
    for name in names:
        kind = next((kind for kind, prefix in URL_PREFIX.items() if prefix and name.startswith(prefix)), None)
        bare = name.removeprefix(URL_PREFIX[kind]) if kind else name
        same = []
        for each in [kind] if kind else ORDER:
            try:
                same.append(store.repo(each, bare))
            except Refusal:
                continue
        if len(same) != 1:
            what = "has several kinds: put datasets/ or spaces/ in front" if same else "is not here: see `rl2f hub ls`"
            raise UsageError(f"repository {name!r} {what}")
        found += same
    repos = found if names else list(store.all_repos())
    return sorted({(repo.kind, repo.id): repo for repo in repos}.values(), key=lambda r: (ORDER.index(r.kind), r.id))


@contextmanager
def one_line(endpoint: str, name: str) -> Iterator[None]:
    """What the other Hub refuses, in one line with what to do."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise RL2FError(f"{name}: HF_HUB_OFFLINE is set: unset it to push") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        fix = {
            401: "the token is wrong, expired or missing: set HF_TOKEN",
            403: "the token may not write there: choose --namespace, or a token with role write",
            412: "somebody committed at the same time: run the same command again",
            429: "rate limit: wait, then run the same command again",
        }.get(status, "run the same command again")
        raise RL2FError(f"{name}: {endpoint} refused with status {status}: {fix}") from None
    except Exception as error:
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        why = type(error).__name__
        raise RL2FError(f"{name}: {endpoint} cannot be reached ({why}): check --endpoint and the network") from None


class Upstream:
    """Another Hub and the repositories of `root` that are to be copied there."""

    def __init__(self, root: Path, repos: list[Repo], endpoint: str, namespace: str | None, token: str | None):
        self.root, self.repos, self.endpoint, self.token = root, repos, endpoint.rstrip("/"), token
        check_token(root, self.endpoint, token)
        self.asked = token is not None
        if namespace is None and self.asked:
            with one_line(self.endpoint, "whoami"):
                namespace = self.api.whoami()["name"]
        self.ids = {repo.id: f"{namespace or repo.namespace}/{repo.name}" for repo in repos}
        self.heads: dict[str, str] = {}  # commit here -> commit over there

    @property
    def api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token or False)

    # -- planning -------------------------------------------------------------------------------------------------

    def plans(self, overwrite: bool = False) -> list[Plan]:
        return [self.plan(repo, overwrite) for repo in self.repos]

    def plan(self, repo: Repo, overwrite: bool = False) -> Plan:
        values, head = repo.settings(), repo.resolve("main")
        target = self.ids[repo.id]
        plan = Plan(repo.kind, repo.id, target, values["private"], values.get("gated") or False, None)
        theirs: dict[str, tuple[str, bool]] = {}
        if self.asked:
            with one_line(self.endpoint, target):
                plan.parent, theirs = self._theirs(repo.kind, target)
            plan.exists = plan.parent is not None
        tree = repo.tree(head)
        for path, entry in sorted(tree.items()):
            oid, size = self._as_sent(repo, path, entry)
            same = theirs.get(path) == (oid, entry.lfs)
            plan.files.append(("same" if same else "change" if path in theirs else "add", path, size))
        if plan.parent and all(what == "same" for what, _, _ in plan.files):
            self._copied(repo, plan.parent)
        tags = repo.refs()["tags"]
        plan.tags = [tag for tag, at in tags.items() if at["commit"] == head]
        plan.notes += [f"tag {tag} points at an older commit: not copied" for tag in tags if tag not in plan.tags]
        if repo.kind == "space" and any(values.get(table) for table in ("variables", "secrets")):
            plan.notes.append("variables and secrets are not copied: set them over there")
        plan.notes += self._loose_ends(repo, tree)
        known = self._record().get(f"{repo.kind}/{target}")
        if plan.parent and known != plan.parent and not overwrite:
            changed = [path for what, path, _ in plan.files if what == "change" and path != ".gitattributes"]
            if changed:
                more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
                plan.refused = (
                    f"{target} has commits of others and its {changed[0]}{more} differs: --overwrite replaces it"
                )
        return plan

    def _theirs(self, kind: str, target: str) -> tuple[str | None, dict[str, tuple[str, bool]]]:
        """(head or None when there is no such repository, path -> (hash, large or not))."""
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            head = self.api.repo_info(target, repo_type=kind).sha
        except RepositoryNotFoundError:
            return None, {}
        items = self.api.list_repo_tree(target, repo_type=kind, recursive=True, revision=head)
        files = [item for item in items if isinstance(item, RepoFile)]
        return head, {f.path: (f.lfs.sha256, True) if f.lfs else (f.blob_id, False) for f in files}

    def _rewritten(self, repo: Repo, path: str, entry: Entry) -> bytes | None:
        """A card or evaluation file as it reads over there; None for every other file, which is copied as it is."""
        is_text = path == "README.md" or path.startswith(".eval_results/")
        if not is_text or entry.lfs or entry.size > _TEXT_BYTES:
            return None
        text = repo.blobs.read(entry.sha256).decode("utf-8", "surrogateescape")
        for mine, theirs in self.ids.items():
            text = re.sub(rf"{_BEFORE_ID}{re.escape(mine)}{_AFTER_ID}", rf"\g<1>{theirs}", text)
        text = _SHA.sub(lambda found: self.heads.get(found[0], found[0]), text)
        return text.encode("utf-8", "surrogateescape")

    def _as_sent(self, repo: Repo, path: str, entry: Entry) -> tuple[str, int]:
        data = self._rewritten(repo, path, entry)
        if data is not None:
            return git_oid(data), len(data)
        return (entry.sha256 if entry.lfs else entry.oid), entry.size

    def _loose_ends(self, repo: Repo, tree: dict[str, Entry]) -> list[str]:
        """What a card says that will not be true over there."""
        notes: list[str] = []
        if (entry := tree.get("README.md")) is None or entry.size > _TEXT_BYTES:
            return notes
        text = repo.blobs.read(entry.sha256).decode("utf-8", "replace")
        if re.search(r"https?://(127\.0\.0\.1|localhost|\[::1\])", text):
            notes.append("README.md links a server on this machine")
        heads = {oid for each in self.repos for oid in _present(each)}
        older = {sha for sha in _SHA.findall(text) if sha not in heads and self._is_ours(sha)}
        notes += [f"README.md names commit {sha[:12]}, which exists here only" for sha in sorted(older)]
        others = [r.id for r in Store(self.root).all_repos() if r.id not in self.ids and r.id in text]
        return notes + [f"README.md names {name}, which is not copied with it" for name in sorted(set(others))]

    def _is_ours(self, sha: str) -> bool:
        return any((repo.folder / "commits" / f"{sha}.json").exists() for repo in Store(self.root).all_repos())

    # -- doing ----------------------------------------------------------------------------------------------------

    def push(self, repo: Repo, overwrite: bool = False) -> tuple[Plan, str]:
        """Copy one repository; returns what was done, and the commit over there. The same call again changes nothing."""
        from huggingface_hub import CommitOperationAdd

        plan = self.plan(repo, overwrite)
        if plan.refused:
            raise RL2FError(plan.refused)
        kind, target, head = plan.kind, plan.target, repo.resolve("main")
        tree, api = repo.tree(head), self.api
        with one_line(self.endpoint, target):
            if not plan.exists:
                sdk: dict[str, Any] = {"space_sdk": repo.settings().get("sdk") or "static"} if kind == "space" else {}
                api.create_repo(target, repo_type=kind, private=plan.private, exist_ok=True, **sdk)
            plan.parent, theirs = self._theirs(kind, target)
            adds = []
            for path, entry in tree.items():
                if theirs.get(path) != (self._as_sent(repo, path, entry)[0], entry.lfs):
                    data = self._rewritten(repo, path, entry)
                    adds.append(CommitOperationAdd(path, data or str(repo.blobs.path(entry.sha256))))
            sha = plan.parent or ""
            if adds:
                message = f"Copy of {repo.id} at {head[:12]}"
                call: dict[str, Any] = {"repo_type": kind, "parent_commit": plan.parent, "commit_message": message}
                sha = api.create_commit(target, adds, **call).oid
            self._remember(f"{kind}/{target}", sha)
            if plan.gated:
                api.update_repo_settings(target, repo_type=kind, gated=plan.gated)
            for tag in plan.tags:
                if tag not in {each.name for each in api.list_repo_refs(target, repo_type=kind).tags}:
                    api.create_tag(target, repo_type=kind, tag=tag, revision=sha)
        self._copied(repo, sha)
        return plan, sha

    def _copied(self, repo: Repo, sha: str) -> None:
        """From now on links to this repository's present content lead to `sha` over there."""
        self.heads |= dict.fromkeys(_present(repo), sha)

    def _record(self) -> dict[str, str]:
        try:
            return json.loads((self.root / "upstream.json").read_bytes()).get(self.endpoint, {})
        except FileNotFoundError:
            return {}

    def _remember(self, name: str, sha: str) -> None:
        file = self.root / "upstream.json"
        with held(self.root / "locks" / "upstream.lock"):
            every = json.loads(file.read_bytes()) if file.exists() else {}
            every.setdefault(self.endpoint, {})[name] = sha
            write_atomically(file, json.dumps(every, indent=1).encode())


def _present(repo: Repo) -> Iterator[str]:
    """The head of `main` and the commits just before it that differ in the card only."""
    now: dict[str, Entry] | None = None
    for commit in repo.log(repo.resolve("main")):
        content = {path: entry for path, entry in repo.tree(commit).items() if path != "README.md"}
        if now is not None and content != now:
            return
        now = content
        yield commit.oid
