"""The command line. Nothing heavy is imported until a command runs, and the Hub's environment is set before that.

Each module here has an `app`; `COMMANDS` lists them all, in the order of `rl2f --help`.

Exit codes: 0 done, 1 failed, 2 bad usage or recipe, 130 stopped by the user, 143 by SIGTERM, 129 with its terminal.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from rl2f_hub import __version__
from rl2f_hub.cli import (
    demo,
    doctor,
    evaluate,
    headroom,
    jobs,
    localhub,
    publish,
    recipes,
    reproduce,
    run,
    space,
    tasks,
    teachers,
)
from rl2f_hub.errors import RL2FError, not_installed, out_of_memory
from rl2f_hub.runtime import stopping
from rl2f_hub.runtime.loopback import direct, proxied

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than all the rest of `--help`, and swallows [brackets]
    help="Didactic dialogues: generate and publish them, train on them with RL2F, evaluate, push, try.",
)
COMMANDS: dict[typer.Typer, str | None] = {  # a module's commands -> the name that they stand under; None: none
    run.app: None,
    publish.app: None,
    reproduce.app: None,
    doctor.app: None,
    headroom.app: None,
    demo.app: None,
    localhub.app: "hub",
    jobs.app: "jobs",
    recipes.app: "recipes",
    evaluate.app: "eval",
    tasks.app: "tasks",
    teachers.app: "teachers",
    space.app: "space",
}
for commands, name in COMMANDS.items():
    app.add_typer(commands, name=name)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rl2f_hub {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
    outside: Annotated[
        bool, typer.Option("--allow-outside-files", help="Let recipes take tasks from files outside their own folder.")
    ] = False,
) -> None:
    from rl2f_hub.runtime import permits

    permits.allow(outside_files=outside)


FULL = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG)  # why nothing can be written
FREE_SPACE = "free space or choose another --out, then --resume"


def _refused(error: BaseException) -> str | None:
    """A full disk, a read-only folder or a lack of memory in words, however the libraries that met it have wrapped it."""
    at: BaseException | None = error
    while at is not None:
        said = " ".join(str(at).split())[:120]
        if isinstance(at, OSError) and at.errno in FULL:
            return f"{at.filename or 'output'}: cannot be written: {at.strerror}; {FREE_SPACE}"
        words = [os.strerror(number) for number in FULL if number != errno.EACCES]
        if "PytorchStreamWriter failed" in str(at) or any(word in str(at) for word in words):
            return f"output: cannot be written: {said}; {FREE_SPACE}"
        if isinstance(at, FileNotFoundError) and "No usable temporary directory" in str(at):
            return "TMPDIR: no folder for temporary files can be written; set TMPDIR to one that can"
        if out_of_memory(at):
            return f"memory: none left ({said or type(at).__name__}); free memory or use a smaller model, then --resume"
        at = at.__cause__ or at.__context__
    return None


INTERRUPTED = 130  # what typer makes of Ctrl-C
GOES_ON = "the same command goes on (`run` and `eval`: with --resume)"


def main() -> None:
    """Entry point: every expected failure becomes one line on standard error and an exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a factor of ten on a busy machine
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if proxied(os.environ):
        os.environ.update(direct(os.environ))
    stopping.listen()
    code = 0
    try:
        app()
    except stopping.Stopped as stopped:
        print(f"stopped by a signal; {GOES_ON}", file=sys.stderr)
        code = int(str(stopped.code))
    except RL2FError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except SystemExit as done:
        if done.code == INTERRUPTED:
            print(f"stopped; {GOES_ON}", file=sys.stderr)
        raise
    except Exception as error:
        refused = not_installed(error) or not_installed(error.__cause__) or _refused(error)
        if refused is None:
            raise  # a bug: keep its traceback
        print(f"error: {refused}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.exit(code)
