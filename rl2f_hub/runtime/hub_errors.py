"""Whatever a Hub refuses, as one line: `hub_errors` around writing (publish, push), `reading_errors` around reading.

Nothing heavy is imported before an error is there. Left out: retries (`commit.patiently`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError

LOOPBACK = re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]+)?")


class hub_errors:
    """Context manager: whatever a Hub refuses becomes one line that names the repository and the fix."""

    def __init__(self, repo_id: str) -> None:
        self.repo_id = repo_id

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            return
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalTokenNotFoundError,
            OfflineModeIsEnabled,
            RevisionNotFoundError,
        )

        if isinstance(error, LocalTokenNotFoundError):
            raise RL2FError(f"hub: {self.repo_id}: no token; run `hf auth login` or set HF_TOKEN") from None
        if isinstance(error, HFValidationError):
            raise UsageError(
                f"hub: {self.repo_id!r} is no name that the Hub allows; see hub.namespace and the names beside it"
            ) from None
        if isinstance(error, RevisionNotFoundError):
            raise RL2FError(
                f"hub: {self.repo_id}: a revision that this run refers to is gone ({_first(error)}); run the stage that made "
                "it again with --force, or give another revision"
            ) from None
        if isinstance(error, OfflineModeIsEnabled):
            raise RL2FError(f"hub: {self.repo_id}: HF_HUB_OFFLINE is set; unset it to push") from None
        if _from(error, "datasets") and type(error).__name__ == "DatasetNotFoundError":
            raise RL2FError(
                f"hub: {self.repo_id}: not there for this token, or its revision is gone ({_first(error)}); publish it again "
                "with --force, or check the token"
            ) from None
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code if error.response is not None else 0
            fix = {
                400: "the Hub does not accept what was sent: the reason follows",
                401: "the token is wrong or expired (or there is none): run `hf auth login` or set HF_TOKEN",
                403: "the token may not write there: check hub.namespace and the token's role (it must be `write`)",
                404: "no such repository for this token: check hub.namespace and the name",
                409: "the name is taken by something else: choose another one",
                412: "somebody else committed at the same time: run the same command again with --resume",
                429: f"rate limit: wait{_retry_after(error)}, then run the same command again with --resume",
            }.get(status, "run the same command again with --resume")
            raise RL2FError(f"hub: {self.repo_id}: refused with status {status}; {fix} ({_first(error)})") from None
        if _unreachable(error):
            raise RL2FError(
                f"hub: {self.repo_id}: the Hub cannot be reached ({type(error).__name__}); check hub.endpoint or HF_ENDPOINT "
                "and the network, then run again with --resume"
            ) from None


@contextmanager
def reading_errors(at: str, repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Whatever goes wrong while a data set is read becomes one line.

    Args:
        at: the place in the recipe that the line names first.
    Raises:
        UsageError: no such repository or revision, no access, or files that cannot be read.
        RL2FError: the Hub cannot be reached or refuses for the moment.
    """
    try:
        yield
    except GeneratorExit:
        raise
    except Exception as error:
        from huggingface_hub import errors as hf

        if isinstance(error, RL2FError):
            raise
        offline = isinstance(error, hf.OfflineModeIsEnabled) or "HF_HUB_OFFLINE" in str(error)
        if offline:
            raise RL2FError(f"{at}: {repo_id}: HF_HUB_OFFLINE is set; unset it to read from the Hub") from None
        if isinstance(error, hf.GatedRepoError):
            raise UsageError(
                f"{at}: {repo_id} is gated; accept its terms on its page, then run `hf auth login` or set HF_TOKEN"
            ) from None
        if isinstance(error, hf.RevisionNotFoundError):
            raise UsageError(
                f"{at}.revision: {repo_id} has no revision {revision!r}; give a commit, a tag or a branch of it"
            ) from None
        if isinstance(error, hf.RepositoryNotFoundError):
            status = error.response.status_code if error.response is not None else 404
            # The Hub answers 401 for a repository that does not exist as well as for a token that it does not know.
            known = "" if status == 404 else "; a wrong token gives this too: run `hf auth login` or set HF_TOKEN"
            raise UsageError(
                f"{at}.source: no data set {repo_id!r} for this token; check the name (<owner/name>){known}{elsewhere()}"
            ) from None
        if isinstance(error, hf.HFValidationError):
            raise UsageError(f"{at}.source: {repo_id!r} is no name of a data set; write hub:<owner/name>") from None
        if isinstance(error, hf.HfHubHTTPError):
            status = error.response.status_code if error.response is not None else 0
            fix = {
                401: "the token is wrong or expired: run `hf auth login` or set HF_TOKEN",
                403: "the token may not read it: check the token's role",
                429: "rate limit: wait, then run again",
            }.get(status, "run again later")
            raise RL2FError(f"{at}: {repo_id}: refused with status {status}; {fix} ({_first(error)})") from None
        if _unreachable(error):
            raise RL2FError(
                f"{at}: {repo_id}: the Hub cannot be reached ({type(error).__name__}); check hub.endpoint or HF_ENDPOINT "
                "and the network"
            ) from None
        if _from(error, "datasets", "pyarrow", "fsspec") or isinstance(error, OSError | ValueError | TypeError):
            cause = error.__cause__ or error  # datasets wraps what the reader of the file said
            raise UsageError(
                f"{at}: {repo_id}: its files cannot be read ({type(cause).__name__}: {_first(cause)}); "
                "check `subset`, `split` and `revision`"
            ) from None
        raise


def elsewhere() -> str:
    """What to add where the embedded Hub lacks a repository: a recipe that pushes there is also read from there."""
    if LOOPBACK.match(os.environ.get("HF_ENDPOINT", "")) is None:
        return ""
    return (
        "; with `hub.endpoint: local` models and data sets come from the embedded Hub too: set `hf`, or copy it there"
    )


def _retry_after(error: Any) -> str:
    said = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return f" {said} s" if said.isdigit() else ""


def _first(error: BaseException) -> str:
    return " ".join(next(iter(str(error).splitlines()), "").split())[:200]


def _from(error: BaseException, *packages: str) -> bool:
    return type(error).__module__.split(".")[0] in packages


def _unreachable(error: BaseException) -> bool:
    # the clients speak through httpx or, from some version on, httpx2; neither is ours to import
    return isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "httpcore"))
