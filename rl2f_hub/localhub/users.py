"""Who may use a local Hub: names, tokens and roles in `users.json` of its root, organisations in `orgs.json`.

A token looks like the Hub's (`hf_` and letters) because clients and scanners expect that, but begins with
`hf_localhub`: it is worthless anywhere else, and nobody takes it for a real one. A user owns the namespace of the
same name, and shares those of the organisations it is a member of. A token of role "read" may only look; a user has
one token for ever and may have more, which can expire. There are no passwords. Both files are for their owner's eyes.
"""

from __future__ import annotations

import hmac
import json
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError

from .blobs import write_atomically
from .history import held
from .names import user_problem

ROLES = ("write", "read")
ORG_ROLES = ("admin", "write", "read")


@dataclass(frozen=True)
class User:
    """A user by one of its tokens. `expires` in seconds since 1970; `orgs` maps organisations to roles in them."""

    name: str
    role: str
    token: str
    expires: float | None = None
    orgs: dict[str, str] = field(default_factory=dict)

    @property
    def may_write(self) -> bool:
        return self.role == "write"

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires < time.time()

    def sees(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or self.orgs.get(namespace) in ("admin", "write")


def _file(root: Path) -> Path:
    return Path(root) / "users.json"


def _orgs_file(root: Path) -> Path:
    return Path(root) / "orgs.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}


def _edit(root: Path, file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    Path(root).mkdir(parents=True, exist_ok=True)
    with held(Path(root) / "locks" / "users.lock"):
        rows = _read(file)
        edit(rows)
        write_atomically(file, json.dumps(rows, indent=1).encode(), mode=0o600)


def _new_token() -> str:
    return "hf_localhub" + "".join(secrets.choice(string.ascii_letters) for _ in range(26))


def list_orgs(root: Path) -> dict[str, dict[str, str]]:
    """Organisation -> member -> role."""
    return _read(_orgs_file(root))


def _all(root: Path) -> list[tuple[User, bool]]:
    """Every token's user, and whether it is the user's first token."""
    orgs, found = list_orgs(root), []
    for name, row in sorted(_read(_file(root)).items()):
        mine = {org: members[name] for org, members in orgs.items() if name in members}
        found.append((User(name, row["role"], row["token"], None, mine), True))
        more = row.get("tokens", [])
        found += [(User(name, each["role"], each["token"], each["expires"], mine), False) for each in more]
    return found


def list_users(root: Path) -> list[User]:
    return [user for user, first in _all(root) if first]


def _check_role(role: str, roles: tuple[str, ...]) -> None:
    if role not in roles:
        raise UsageError(f"role {role!r}: use one of {', '.join(roles)}")


def add_user(root: Path, name: str, role: str = "write") -> str:
    """Create a user and return the new token."""
    if problem := user_problem(name):
        raise UsageError(f"user name {name!r}: {problem}")
    _check_role(role, ROLES)
    token = _new_token()

    def edit(users: dict[str, Any]) -> None:
        if name in users:
            raise RL2FError(
                f"user {name!r} exists already: print its token with `rl2f hub user token {name} --root {root}`"
            )
        if name in list_orgs(root):
            raise UsageError(f"user name {name!r} is the name of an organisation: choose another")
        users[name] = {"role": role, "token": token}

    _edit(root, _file(root), edit)
    return token


def add_token(root: Path, name: str, role: str = "read", seconds: float | None = None) -> str:
    """One more token for a user, of its own role, that may expire in `seconds`; returns it."""
    _check_role(role, ROLES)
    find_user(root, name)
    token, expires = _new_token(), None if seconds is None else time.time() + seconds

    def edit(users: dict[str, Any]) -> None:
        users[name].setdefault("tokens", []).append({"role": role, "token": token, "expires": expires})

    _edit(root, _file(root), edit)
    return token


def set_member(root: Path, org: str, name: str, role: str | None = "admin") -> None:
    """Make a user a member of an organisation, which is created when missing; role None ends the membership."""
    if problem := user_problem(org):
        raise UsageError(f"organisation name {org!r}: {problem}")
    if role is not None:
        _check_role(role, ORG_ROLES)
    if org in {user.name for user in list_users(root)}:
        raise UsageError(f"organisation name {org!r} is the name of a user: choose another")
    find_user(root, name)

    def edit(orgs: dict[str, Any]) -> None:
        members = orgs.setdefault(org, {})
        if role is None:
            members.pop(name, None)
        else:
            members[name] = role

    _edit(root, _orgs_file(root), edit)


def find_user(root: Path, name: str) -> User:
    for user in list_users(root):
        if user.name == name:
            return user
    known = ", ".join(user.name for user in list_users(root)) or "nobody yet"
    raise RL2FError(f"user {name!r} is unknown: add it with `rl2f hub user add {name} --root {root}` (known: {known})")


class Users:
    """The server's view: reads the files again when they changed, so new users work without a restart."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self._seen: list[tuple[int, int, int] | None] = []
        self._users: list[User] = []

    def _fresh(self) -> list[User]:
        seen = [_stamp(_file(self.root)), _stamp(_orgs_file(self.root))]
        if seen != self._seen:
            self._users, self._seen = [user for user, _ in _all(self.root)], seen
        return self._users

    def by_token(self, token: str) -> User | None:
        """The user, also of a token that has expired."""
        for user in self._fresh():
            if hmac.compare_digest(user.token.encode(), token.encode()):
                return user
        return None

    def exists(self, name: str) -> bool:
        return any(user.name == name for user in self._fresh())

    def orgs(self) -> dict[str, dict[str, str]]:
        return list_orgs(self.root)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
