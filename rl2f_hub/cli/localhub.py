"""`rl2f hub ...`: serve a root in the foreground, its users, and what it holds.

Errors are raised as RL2FError; the command line this is mounted into prints them and sets the exit code. Tokens go
to stdout only where printing one is the command's purpose.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.localhub.server import answers, read_state
from rl2f_hub.localhub.users import ORG_ROLES, ROLES, add_token, add_user, find_user, list_orgs, list_users, set_member

if TYPE_CHECKING:
    from rl2f_hub.localhub.upstream import Plan

app = typer.Typer(no_args_is_help=True, help="The embedded Hub: a Hugging Face Hub served from a folder.")
user_app = typer.Typer(no_args_is_help=True, help="Users of a local Hub and their tokens.")
app.add_typer(user_app, name="user")
org_app = typer.Typer(no_args_is_help=True, help="Organisations of a local Hub: namespaces that users share.")
app.add_typer(org_app, name="org")

Root = Annotated[Path, typer.Option("--root", help="Folder that holds the Hub: repositories, users, server log.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def serve(
    root: Root,
    port: Annotated[int, typer.Option(help="Port; 0 takes the root's last one if it is free, else any.", min=0)] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on. Beyond 127.0.0.1 every request needs a token.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve ROOT until Ctrl-C. Clients need HF_ENDPOINT, and HF_TOKEN to write or to see private repositories."""
    import logging
    import shlex

    from rl2f_hub.localhub.child import serve_in_foreground
    from rl2f_hub.localhub.server import open_log
    from rl2f_hub.runtime.loopback import direct, proxied

    root.expanduser().mkdir(parents=True, exist_ok=True, mode=0o700)
    log = os.fdopen(open_log(root.expanduser()), "a", encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=log)

    def ready(url: str) -> None:
        known = [user.name for user in list_users(root.expanduser())]
        name = known[0] if known else "me"
        typer.echo(f"Local Hub: {url}   (folder {root}, log {root / 'server.log'}, Ctrl-C stops it)")
        typer.echo("\nIn another terminal, before the client starts:")
        typer.echo(f"  export HF_ENDPOINT={url}")
        verb = "token" if known else "add"
        typer.echo(f"  export HF_TOKEN=$(rl2f hub user {verb} {name} --root {shlex.quote(str(root))})")
        typer.echo("  export HF_HOME=$(mktemp -d)      # a cache of its own, apart from the real Hub's")
        if proxied(os.environ):
            typer.echo(f"  export NO_PROXY={direct(os.environ)['NO_PROXY']}      # your proxy cannot reach it")

    serve_in_foreground(root, host, port, ready)
    typer.echo("Stopped.")


@user_app.command("add")
def user_add(
    name: str,
    root: Root,
    role: Annotated[str, typer.Option(help=f"What the user may do: {' or '.join(ROLES)}.")] = "write",
    as_json: Json = False,
) -> None:
    """Create a user and print the new token, and nothing else. A running server knows it at once."""
    token = add_user(root.expanduser(), name, role)
    typer.echo(json.dumps({"name": name, "role": role, "token": token}) if as_json else token)


@user_app.command("token")
def user_token(
    name: str,
    root: Root,
    new: Annotated[bool, typer.Option("--new", help="Create one more token instead, of the role below.")] = False,
    role: Annotated[str, typer.Option(help=f"Role of a new token: {' or '.join(ROLES)}.")] = "read",
    expires: Annotated[float | None, typer.Option(help="Seconds after which a new token is refused.", min=0)] = None,
) -> None:
    """Print a user's token, and nothing else."""
    folder = root.expanduser()
    typer.echo(add_token(folder, name, role, expires) if new else find_user(folder, name).token)


@org_app.command("add")
def org_add(
    org: str,
    member: str,
    root: Root,
    role: Annotated[str, typer.Option(help=f"What the member may do: {', '.join(ORG_ROLES)}.")] = "write",
) -> None:
    """Make a user a member of ORG, which is created when missing. A running server knows it at once."""
    set_member(root.expanduser(), org, member, role)
    typer.echo(f"{member} is a member of {org} with role {role}")


@org_app.command("remove")
def org_remove(org: str, member: str, root: Root) -> None:
    """End a membership. The organisation's repositories stay."""
    set_member(root.expanduser(), org, member, None)
    typer.echo(f"{member} is no member of {org}")


@org_app.command("list")
def org_list(root: Root, as_json: Json = False) -> None:
    """Print organisations and their members."""
    orgs = list_orgs(root.expanduser())
    if as_json:
        typer.echo(json.dumps(orgs))
        return
    for org, members in sorted(orgs.items()):
        typer.echo(f"{org}\t{', '.join(f'{name} ({role})' for name, role in sorted(members.items())) or 'nobody'}")
    if not orgs:
        typer.echo(f"no organisations yet: rl2f hub org add ORG USER --root {root}", err=True)


@user_app.command("list")
def user_list(root: Root, as_json: Json = False) -> None:
    """Print names and roles, never tokens."""
    users = list_users(root.expanduser())
    if as_json:
        typer.echo(json.dumps([{"name": user.name, "role": user.role} for user in users]))
        return
    for user in users:
        typer.echo(f"{user.name}\t{user.role}")
    if not users:
        typer.echo(f"no users yet: rl2f hub user add NAME --root {root}", err=True)


@app.command()
def fsck(
    root: Root,
    quick: Annotated[bool, typer.Option("--quick", help="Look at names and sizes only, do not read content.")] = False,
    tidy: Annotated[
        bool, typer.Option("--tidy", help="Remove what killed processes left more than a day ago.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that all that ROOT holds is there and whole. Repairs nothing; exit code 1 on damage."""
    from rl2f_hub.localhub import fsck as checker

    folder = root.expanduser()
    if not folder.is_dir():
        raise UsageError(f"--root {root} is not a folder: give the folder of a local Hub")
    removed = checker.tidy(folder) if tidy else 0
    report = checker.check(folder, hash_content=not quick)
    if as_json:
        rows = [finding._asdict() for finding in report.findings]
        typer.echo(json.dumps({**report._asdict(), "findings": rows, "removed": removed}))
    else:
        for finding in report.findings:
            typer.echo(f"{finding.level}: {finding.where}: {finding.what}")
        how = "names and sizes" if quick else "all content read"
        typer.echo(
            f"{report.repos} repositories, {report.commits} commits, {report.blobs} files, {report.bytes:,} bytes"
            f" ({how}): {'DAMAGED' if report.damaged else 'whole'}"
        )
    if report.damaged:
        raise typer.Exit(1)


@app.command("push-upstream")
def push_upstream(
    root: Root,
    repos: Annotated[
        list[str] | None, typer.Argument(help="Repositories to copy, as namespace/name, datasets/namespace/name, ...")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Copy every repository of ROOT.")] = False,
    namespace: Annotated[
        str | None, typer.Option(help="Where to copy them over there [default: the token's user].")
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help="The other Hub. HF_ENDPOINT is not looked at.")
    ] = "https://huggingface.co",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files over there even if others changed them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy repositories to the real Hub.

    Files, tags and visibility; ids and commits in cards become those over there.

    The token is that of `hf auth login` or HF_TOKEN. Without one, --dry-run works and does not ask the other Hub.
    """
    from rl2f_hub.localhub.upstream import Upstream, chosen

    folder = root.expanduser()
    if not folder.is_dir():
        raise UsageError(f"--root {root} is not a folder: give the folder of a local Hub")
    if bool(repos) == every:
        raise UsageError("name the repositories to copy, or give --all: see `rl2f hub ls`")
    os.environ["HF_ENDPOINT"] = endpoint  # also what the client does unasked goes there; it reads this on import
    from huggingface_hub import get_token

    token = get_token()
    if token is None and not dry_run:
        raise UsageError("HF_TOKEN is not set: run `hf auth login`, or look at the plan with --dry-run")
    other = Upstream(folder, chosen(folder, repos or []), endpoint, namespace, token)
    plans = other.plans(overwrite)
    for plan in plans:
        if not as_json:
            typer.echo(_plan_text(plan))
    refused = [plan.refused for plan in plans if plan.refused]
    if not as_json and refused and not dry_run:
        raise RL2FError(f"nothing was copied: {refused[0]}")
    done = []
    if not dry_run and not refused:
        for repo in other.repos:
            plan, sha = other.push(repo, overwrite)
            done.append({"kind": plan.kind, "target": plan.target, "commit": sha})
            if not as_json:
                typer.echo(f"copied {plan.kind} {plan.source} to {plan.target} at {sha[:12]}")
    if as_json:
        rows = [plan.row() for plan in plans]
        typer.echo(json.dumps({"endpoint": endpoint, "dry_run": dry_run, "plans": rows, "done": done}))
        if refused:
            raise typer.Exit(1)


def _plan_text(plan: Plan) -> str:
    """One repository of a plan for people."""
    what = {True: "update", False: "create", None: "create or update (not asked: no token)"}[plan.exists]
    seen = "private" if plan.private else "public"
    gate = f", gated ({plan.gated})" if plan.gated else ""
    lines = [f"{what} {plan.kind} {plan.target}: {seen}{gate}, {plan.bytes:,} bytes to send"]
    lines += [f"  {op:6} {size:>14,}  {path}" for op, path, size in plan.files if op != "same"][:200]
    same = sum(op == "same" for op, _, _ in plan.files)
    lines += [f"  {same} files are the same over there"] if same else []
    lines += [f"  tag    {tag}" for tag in plan.tags] + [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines + ([f"  REFUSED: {plan.refused}"] if plan.refused else []))


@app.command("ls")
def list_repos(root: Root, as_json: Json = False) -> None:
    """List every repository of ROOT, private ones too. It need not be served."""
    from rl2f_hub.localhub.repos_api import describe
    from rl2f_hub.localhub.store import Store

    folder = root.expanduser()
    state = read_state(folder)
    url = state["url"] if answers(state) else None
    rows = []
    for repo in Store(folder).all_repos() if folder.is_dir() else []:
        found = describe(repo, repo.resolve("main"))
        row = {"kind": repo.kind, "id": repo.id, "private": found["private"], "files": len(found["siblings"])}
        rows.append(row | {"bytes": found["usedStorage"], "updated": found["lastModified"]})
    if as_json:
        typer.echo(json.dumps({"root": str(folder), "url": url, "repos": rows}))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("kind", "repository", "visibility", "files", "bytes", "updated"):
        table.add_column(name, justify="right" if name in ("files", "bytes") else "left", overflow="fold")
    for row in rows:
        seen = "private" if row["private"] else "public"
        table.add_row(
            str(row["kind"]), str(row["id"]), seen, str(row["files"]), f"{row['bytes']:,}", str(row["updated"])
        )
    Console(markup=False).print(table if rows else f"no repositories in {folder}")
    typer.echo(f"served at {url}" if url else "not being served", err=True)
