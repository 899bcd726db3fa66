"""Endpoints of Jobs: recorded, never run.

A job is a JSON file under `jobs/<namespace>/`. Its stage is CANCELED from the start, with a message that says why:
a final stage, so clients that wait for it or follow its logs come back, and not one that claims work was done.
Values of secrets are not kept.
"""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

from starlette.responses import Response

from .app import Call, Route
from .blobs import write_atomically
from .history import now
from .names import user_problem
from .payload import Payload
from .refusal import Refusal
from .spaces import events

NOT_RUN = "recorded, not run: the local Hub has no machines"


def _folder(call: Call) -> Path:
    """The namespace's folder. Jobs are private: only their owner sees them."""
    namespace = call.args["ns"]
    if user_problem(namespace) or not call.member(namespace):
        raise Refusal(403 if call.user else 401, f"Jobs of {namespace!r} are for its owner only")
    return call.hub.store.root / "jobs" / namespace


def _load(call: Call) -> dict[str, Any]:
    folder, job_id = _folder(call), call.args["job"]
    if not re.fullmatch(r"[0-9a-f]{24}", job_id) or not (folder / f"{job_id}.json").exists():
        raise Refusal(404, f"Job {job_id[:60]!r} not found")
    return json.loads((folder / f"{job_id}.json").read_bytes())


def _save(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    write_atomically(_folder(call) / f"{job['id']}.json", json.dumps(job).encode(), mode=0o600)
    return job


def _record(call: Call, sent: Payload) -> dict[str, Any]:
    user = call.writer(call.args["ns"])
    spec = Payload((key, value) for key, value in sent.items() if key not in ("id", "createdAt", "owner", "status"))
    for name in ("command", "arguments"):
        spec.texts(name)
    spec.table("labels")
    if spec.get("secrets"):
        spec["secrets"] = dict.fromkeys(spec.table("secrets"), "")
    owner = {"id": f"local-{user.name}", "name": user.name, "type": "user"}
    status = {"stage": "CANCELED", "message": NOT_RUN, "failureCount": 0}
    return _save(call, {**spec, "id": secrets.token_hex(12), "createdAt": now(), "owner": owner, "status": status})


def run(call: Call) -> dict[str, Any]:
    return _record(call, call.json())


def rerun(call: Call) -> dict[str, Any]:
    return _record(call, Payload(_load(call)))


def listing(call: Call) -> list[dict[str, Any]]:
    stages, labels = call.request.query_params.getlist("stage"), call.request.query_params.getlist("label")
    jobs = [json.loads(file.read_bytes()) for file in _folder(call).glob("*.json")]
    jobs = [job for job in jobs if not stages or job["status"]["stage"] in stages]
    for label in labels:
        key, _, value = label.partition("=")
        jobs = [job for job in jobs if (job.get("labels") or {}).get(key) == value]
    return sorted(jobs, key=lambda job: (job["createdAt"], job["id"]), reverse=True)


def inspect(call: Call) -> dict[str, Any]:
    return _load(call)


def cancel(call: Call) -> dict[str, Any]:
    return _load(call)


def label(call: Call) -> dict[str, Any]:
    job = _load(call)
    call.writer(call.args["ns"])
    return _save(call, {**job, "labels": call.json().table("labels")})


def logs(call: Call) -> Response:
    job = _load(call)
    command = " ".join(map(str, [*(job.get("command") or []), *(job.get("arguments") or [])]))
    lines = [f"===== Job started at {job['createdAt']} =====", NOT_RUN, f"command: {command}"]
    tail = call.number("tail", 1000, 1000)
    return events(lines[-tail:], job["createdAt"])


def metrics(call: Call) -> Response:
    _load(call)
    return events([], "")


ROUTES: list[Route] = [
    ("GET", "/api/jobs/hardware", lambda call: []),
    ("POST", "/api/jobs/{ns}", run),
    ("GET", "/api/jobs/{ns}", listing),
    ("GET", "/api/jobs/{ns}/{job}", inspect),
    ("POST", "/api/jobs/{ns}/{job}/cancel", cancel),
    ("POST", "/api/jobs/{ns}/{job}/duplicate", rerun),
    ("PUT", "/api/jobs/{ns}/{job}/labels", label),
    ("GET", "/api/jobs/{ns}/{job}/logs", logs),
    ("GET", "/api/jobs/{ns}/{job}/events", metrics),
    ("GET", "/api/jobs/{ns}/{job}/metrics", metrics),
]
