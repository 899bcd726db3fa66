"""HF Jobs: the same recipe on a rented machine. What is sent, what it may cost, and its log.

The job gets the whole recipe, overrides applied, as one environment variable, installs the package with uv and runs
`rl2f run` on it; with several GPUs through `accelerate launch`. Its disk goes with it, so a recipe that pushes nowhere
else is refused; with `keep` the run's folder lies in a bucket of the Hub, and the same job submitted again goes on there.

Secrets are named, never written: their values are read from this machine's environment, sent encrypted by
`huggingface_hub`, and appear in nothing that is printed. Left out: scheduled jobs, several machines a job.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.recipe import Recipe

IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"  # Debian with Python and uv; torch's wheels bring CUDA themselves
PACKAGE = "rl2f-hub[qlora,trackio]"
PRICES_AS_OF = "2026-11-25"
PRICES_FROM = "https://huggingface.co/docs/hub/jobs-pricing"
PRICES = {  # US dollars an hour, as that page said on that day; the Hub's own list is asked first
    "cpu-basic": 0.01,
    "cpu-upgrade": 0.03,
    "cpu-xl": 1.00,
    "cpu-performance": 1.90,
    "t4-small": 0.40,
    "t4-medium": 0.60,
    "l4x1": 0.80,
    "l4x4": 3.80,
    "l40sx1": 1.80,
    "l40sx4": 8.30,
    "l40sx8": 23.50,
    "a10g-small": 1.00,
    "a10g-large": 1.50,
    "a10g-largex2": 3.00,
    "a10g-largex4": 5.00,
    "a100-large": 2.50,
    "a100x4": 10.00,
    "a100x8": 20.00,
    "h200": 5.00,
    "h200x2": 10.00,
    "h200x4": 20.00,
    "h200x8": 40.00,
    "rtx-pro-6000": 2.75,
    "rtx-pro-6000x2": 5.50,
    "rtx-pro-6000x4": 11.00,
    "rtx-pro-6000x8": 22.00,
}
RUN = (  # "$@" and every name below are set in the job's environment; nothing of a recipe is pasted into shell text
    'set -eu; printf "%s" "$RL2F_RECIPE" > recipe.yaml; '
    'exec uv run --no-project --with "$RL2F_PACKAGE" "$@" run recipe.yaml --out "$RL2F_OUT" --resume'
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A job before it is sent: what would be asked of the Hub, without any secret's value."""

    recipe: Recipe
    flavor: str
    hours: float
    namespace: str | None = None
    secrets: tuple[str, ...] = ()
    keep: str | None = None
    package: str = PACKAGE
    image: str = IMAGE

    def __post_init__(self) -> None:
        if self.recipe.hub.endpoint == "local":
            raise UsageError(
                "hub.endpoint: 'local' is the job's own disk, which goes with the job; add --set hub.endpoint=hf so that "
                "dataset and adapter are pushed"
            )
        if self.recipe.hub.endpoint != "hf" and "127.0.0.1" in self.recipe.hub.endpoint:
            raise UsageError("hub.endpoint: a job cannot reach this machine; add --set hub.endpoint=hf")
        if any(s.source.startswith(("jsonl:", "csv:", "tsv:", "parquet:", "python:")) for s in self._sources()):
            raise UsageError(
                "tasks: a job does not see this machine's files; push the data set to the Hub and name it hub:<owner/name>"
            )

    def _sources(self) -> list[Any]:
        return [*self.recipe.tasks.train, *self.recipe.tasks.eval, *self.recipe.tasks.ood]

    @property
    def gpus(self) -> int:
        found = re.search(r"x(\d+)$", self.flavor)
        return 0 if self.flavor.startswith("cpu") else int(found.group(1)) if found else 1

    def command(self) -> list[str]:
        many = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(self.gpus), "-m", "rl2f_hub"]
        return ["bash", "-c", RUN, "job", *(many if self.gpus > 1 else ["rl2f"])]

    def environment(self) -> dict[str, str]:
        import yaml

        recipe = yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False)
        out = f"/kept/{self.recipe.name}" if self.keep else "run"
        return {"RL2F_RECIPE": recipe, "RL2F_PACKAGE": self.package, "RL2F_OUT": out, "OMP_WAIT_POLICY": "PASSIVE"}


def hours_of(timeout: str) -> float:
    """`90m`, `6h`, `1.5d`, `7200s` or plain seconds, in hours.

    Raises:
        UsageError: anything else.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", timeout.strip())
    if found is None or float(found.group(1)) <= 0:
        raise UsageError(f"--timeout: {timeout!r} is no length of time; write 90m, 6h or 1.5d")
    return float(found.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found.group(2)] / 3600


def price_of(flavor: str, listed: Sequence[Any] = ()) -> tuple[float, str]:
    """(dollars an hour, where that is from): the Hub's own list, else the table above with its date.

    Raises:
        UsageError: no such flavor.
    """
    for entry in listed:
        if entry.name == flavor and entry.unit_label == "minute":
            return entry.unit_cost_usd * 60, "the Hub's list, now"
    if flavor not in PRICES:
        raise UsageError(
            f"--flavor: {flavor!r} is unknown{did_you_mean(flavor, PRICES)}; `hf jobs hardware` lists them"
        )
    return PRICES[flavor], f"{PRICES_FROM} on {PRICES_AS_OF}"


def secret_values(names: Sequence[str], recipe: Recipe) -> dict[str, str]:
    """The values of secrets, from this machine's environment: the Hub's token, those named, and a teacher's key.

    Raises:
        UsageError: a name that is not set, or is none.
    """
    from huggingface_hub import get_token

    endpoint = recipe.teacher.endpoint
    wanted = dict.fromkeys([*names, *([endpoint.key_env] if endpoint and endpoint.key_env else [])])
    values = {"HF_TOKEN": get_token() or ""}
    for name in wanted:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError("--secret: give the NAME of an environment variable, not its value")
        values[name] = os.environ.get(name, "") or (values["HF_TOKEN"] if name == "HF_TOKEN" else "")
    for name, value in values.items():
        if not value:
            fix = "run `hf auth login` or set HF_TOKEN" if name == "HF_TOKEN" else f"export {name}=... here first"
            raise UsageError(f"--secret: {name} is not set on this machine; {fix}")
    return values


def submit(plan: Plan) -> Any:
    """Sends the job; returns huggingface_hub's JobInfo.

    Raises:
        RL2FError: the Hub refuses, or the namespace is not open to the token.
    """
    from huggingface_hub import HfApi, Volume

    from rl2f_hub.hub.errors import hub_errors
    from rl2f_hub.pipeline import namespace_of

    namespace_of(plan.recipe.hub)  # before anything is paid: the job must be able to push
    volumes = [Volume(type="bucket", source=plan.keep, mount_path="/kept")] if plan.keep else None
    with hub_errors("jobs"):
        return HfApi().run_job(
            image=plan.image,
            command=plan.command(),
            env=plan.environment(),
            secrets=secret_values(plan.secrets, plan.recipe),
            flavor=plan.flavor,
            timeout=round(plan.hours * 3600),
            labels={"tool": "rl2f", "recipe": plan.recipe.name[:60], "fingerprint": plan.recipe.fingerprint},
            namespace=plan.namespace,
            volumes=volumes,
        )


def follow(job_id: str, namespace: str | None, *, wait: bool = True) -> Iterator[str]:
    """The job's log, line by line; with `wait` until it ends."""
    from huggingface_hub import HfApi

    from rl2f_hub.hub.errors import hub_errors

    with hub_errors(f"job {job_id}"):
        yield from HfApi().fetch_job_logs(job_id=job_id, namespace=namespace, follow=wait)


def status(job_id: str, namespace: str | None) -> dict[str, Any]:
    """Stage, message, times, hardware and address of a job; names of secrets, no values."""
    from huggingface_hub import HfApi

    from rl2f_hub.hub.errors import hub_errors

    with hub_errors(f"job {job_id}"):
        job = HfApi().inspect_job(job_id=job_id, namespace=namespace)
    return {
        "id": job.id,
        "stage": str(getattr(job.status.stage, "value", job.status.stage)),
        "message": job.status.message,
        "flavor": str(getattr(job.flavor, "value", job.flavor)),
        "created": str(job.created_at),
        "finished": str(job.finished_at) if getattr(job, "finished_at", None) else None,
        "recipe": (job.labels or {}).get("recipe"),
        "url": job.url,
    }


def cancel(job_id: str, namespace: str | None) -> None:
    from huggingface_hub import HfApi

    from rl2f_hub.hub.errors import hub_errors

    with hub_errors(f"job {job_id}"):
        HfApi().cancel_job(job_id=job_id, namespace=namespace)
