"""Who may use a local Hub: names, tokens and roles in `users.json` of its root, readable by its owner only.

A token looks like the Hub's (`hf_` and letters) because clients and scanners expect that, but begins with
`hf_localhub`: it is worthless anywhere else, and nobody takes it for a real one. A user owns the namespace of the
same name; role "write" may change it, role "read" may only look. There are no organisations and no passwords.
"""

from __future__ import annotations

import hmac
import json
import secrets
import string
from dataclasses import dataclass
from pathlib import Path

from rl2f_hub.errors import RL2FError, UsageError

from .blobs import write_atomically
from .history import held
from .names import user_problem

ROLES = ("write", "read")


@dataclass(frozen=True)
class User:
    name: str
    role: str
    token: str

    @property
    def may_write(self) -> bool:
        return self.role == "write"


def _file(root: Path) -> Path:
    return Path(root) / "users.json"


def list_users(root: Path) -> list[User]:
    try:
        rows = json.loads(_file(root).read_bytes())
    except FileNotFoundError:
        return []
    return [User(name, row["role"], row["token"]) for name, row in sorted(rows.items())]


def add_user(root: Path, name: str, role: str = "write") -> str:
    """Create a user and return the new token."""
    if problem := user_problem(name):
        raise UsageError(f"user name {name!r}: {problem}")
    if role not in ROLES:
        raise UsageError(f"role {role!r}: use one of {', '.join(ROLES)}")
    Path(root).mkdir(parents=True, exist_ok=True)
    with held(Path(root) / "locks" / "users.lock"):
        users = {user.name: {"role": user.role, "token": user.token} for user in list_users(root)}
        if name in users:
            raise RL2FError(
                f"user {name!r} exists already: print its token with `rl2f hub user token {name} --root {root}`"
            )
        token = "hf_localhub" + "".join(secrets.choice(string.ascii_letters) for _ in range(26))
        users[name] = {"role": role, "token": token}
        write_atomically(_file(root), json.dumps(users, indent=1).encode(), mode=0o600)
    return token


def find_user(root: Path, name: str) -> User:
    for user in list_users(root):
        if user.name == name:
            return user
    known = ", ".join(user.name for user in list_users(root)) or "nobody yet"
    raise RL2FError(f"user {name!r} is unknown: add it with `rl2f hub user add {name} --root {root}` (known: {known})")


class Users:
    """The server's view: reads the file again when it changed, so new users work without a restart."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self._seen: tuple[int, int, int] | None = None
        self._users: list[User] = []

    def by_token(self, token: str) -> User | None:
        try:
            stat = _file(self.root).stat()
        except FileNotFoundError:
            return None
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen != self._seen:
            self._users, self._seen = list_users(self.root), seen
        for user in self._users:
            if hmac.compare_digest(user.token.encode(), token.encode()):
                return user
        return None
