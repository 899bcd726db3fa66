"""The two errors a user sees: one line that names the field or file, the value, and the fix.

Anything else that escapes is a bug and keeps its traceback.
"""


class RL2FError(Exception):
    """Something failed while running. The command line prints the message and exits with `exit_code`."""

    exit_code = 1


class UsageError(RL2FError):
    """The request itself is wrong: bad arguments or a bad recipe. Nothing was started."""

    exit_code = 2
