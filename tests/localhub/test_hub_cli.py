"""`rl2f hub`: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rl2f_hub.cli.localhub import app
from rl2f_hub.errors import RL2FError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import Users, find_user, list_users

REPO = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_user_add_prints_the_token_only(tmp_path: Path) -> None:
    done = run("user", "add", "bob", "--root", tmp_path)
    assert done.exit_code == 0 and done.stdout == find_user(tmp_path, "bob").token + "\n"
    assert run("user", "token", "bob", "--root", tmp_path).stdout == done.stdout
    row = json.loads(run("user", "add", "eve", "--root", tmp_path, "--role", "read", "--json").stdout)
    assert row == {"name": "eve", "role": "read", "token": find_user(tmp_path, "eve").token}


def test_user_list_prints_no_token(tmp_path: Path) -> None:
    token = run("user", "add", "bob", "--root", tmp_path).stdout.strip()
    for more in ([], ["--json"]):
        done = run("user", "list", "--root", tmp_path, *more)
        assert "bob" in done.stdout and "write" in done.stdout and token not in done.output


def test_more_tokens_and_organisations(tmp_path: Path) -> None:
    first = run("user", "add", "bob", "--root", tmp_path).stdout.strip()
    more = run("user", "token", "bob", "--root", tmp_path, "--new", "--expires", 0).stdout.strip()
    assert more != first and run("user", "token", "bob", "--root", tmp_path).stdout.strip() == first
    users = Users(tmp_path)
    found = users.by_token(more)
    assert found is not None and (found.name, found.role, found.expired) == ("bob", "read", True)
    assert run("org", "add", "club", "bob", "--root", tmp_path).exit_code == 0
    assert json.loads(run("org", "list", "--root", tmp_path, "--json").stdout) == {"club": {"bob": "write"}}
    found = users.by_token(first)
    assert found is not None and found.owns("club") and found.owns("bob") and not found.owns("others")
    run("org", "remove", "club", "bob", "--root", tmp_path)
    found = users.by_token(first)
    assert found is not None and not found.sees("club")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["org", "add", "club", "nobody"], "user 'nobody' is unknown", 1),
        (["org", "add", "bob", "bob"], "organisation name 'bob' is the name of a user", 2),
        (["org", "add", "club", "bob", "--role", "king"], "role 'king': use one of admin, write, read", 2),
        (["user", "token", "bob", "--new", "--role", "x"], "role 'x': use one of write, read", 2),
        (["user", "add", "bob"], "exists already: print its token with `rl2f hub user token bob", 1),
        (["user", "add", "../x"], "user name '../x': use 1 to 96", 2),
        (["user", "add", "ann", "--role", "root"], "role 'root': use one of write, read", 2),
        (["user", "token", "nobody"], "user 'nobody' is unknown: add it with `rl2f hub user add nobody", 1),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: list[str], message: str, code: int) -> None:
    run("user", "add", "bob", "--root", tmp_path)
    error = run(*arguments, "--root", tmp_path).exception
    assert isinstance(error, RL2FError) and error.exit_code == code
    assert message in str(error) and "\n" not in str(error)
    assert [user.name for user in list_users(tmp_path)] == ["bob"]


def test_ls(tmp_path: Path) -> None:
    assert json.loads(run("ls", "--root", tmp_path, "--json").stdout)["repos"] == []
    from rl2f_hub.localhub.store import Store

    Store(tmp_path).create("dataset", "me", "data", "me", private=True)
    found = json.loads(run("ls", "--root", tmp_path, "--json").stdout)
    assert found["url"] is None
    assert [(r["kind"], r["id"], r["private"], r["files"]) for r in found["repos"]] == [("dataset", "me/data", True, 1)]
    assert "me/data" in run("ls", "--root", tmp_path).stdout


def serve(root: Path, *more: str) -> subprocess.Popen[str]:
    code = (
        "import sys\nfrom rl2f_hub.errors import RL2FError\nfrom rl2f_hub.cli.localhub import app\n"
        "try:\n    app()\nexcept RL2FError as error:\n    sys.exit(f'error: {error}')"
    )
    command = [sys.executable, "-c", code, "serve", "--root", str(root), *more]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_on_a_fresh_root_until_stopped(tmp_path: Path, how: signal.Signals) -> None:
    server = serve(tmp_path / "fresh")
    try:
        assert server.stdout is not None and server.stderr is not None
        url = server.stdout.readline().split()[2]
        with urllib.request.urlopen(url + "/") as page:
            assert b"Nothing here yet" in page.read()
        with LocalHub.start(tmp_path / "fresh", user="bob") as joined:  # a user added while it runs
            assert joined.endpoint == url
            request = urllib.request.Request(
                url + "/api/whoami-v2", headers={"Authorization": f"Bearer {joined.token}"}
            )
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["name"] == "bob"
        second = serve(tmp_path / "fresh")
        _, said = second.communicate(timeout=900)
        assert second.returncode == 1 and f"already served at {url}" in said and said.count("\n") == 1
    finally:
        server.send_signal(how)
        out, err = (
            server.stdout.read(),
            server.stderr.read(),
        )  # not communicate(): it loses what readline() has buffered
    assert server.wait(timeout=60) == 0, err
    assert f"HF_ENDPOINT={url}" in out and out.rstrip().endswith("Stopped.") and "hf_" not in out and not err


def test_serve_on_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = serve(tmp_path, "--port", str(other.getsockname()[1]))
        out, err = server.communicate(timeout=900)
    assert server.returncode == 1 and not out
    assert err.startswith("error: port ") and "choose another --port" in err and err.count("\n") == 1


def test_the_guide_says_what_runs(tmp_path: Path) -> None:
    guide = (REPO / "docs" / "localhub.md").read_text()
    commands = {tuple(found.split()) for found in re.findall(r"rl2f hub ((?:user |org )?[a-z-]+)", guide)}
    assert {("serve",), ("fsck",), ("push-upstream",), ("user", "add"), ("org", "add")} <= commands
    for command in commands:
        assert run(*command, "--help").exit_code == 0, command
    program = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0]
    (tmp_path / "train.py").write_text("import os; print(os.environ['HF_ENDPOINT'], os.environ['HF_TOKEN'][:11])\n")
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("http://127.0.0.1:") and done.stdout.rstrip().endswith("hf_localhub")
