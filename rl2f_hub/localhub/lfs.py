"""Large files over plain HTTP: the Git LFS batch answer, and the signed PUT that it points to.

Clients send no Authorization header with the PUT, so its URL carries a signature that names one repository, one
hash, one size and a time. The content is streamed to disk and kept only if hash and size are the announced ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from .app import Call, Hub, Route, per_kind
from .blobs import Draft, is_sha256
from .files_api import sending
from .payload import Payload
from .refusal import Refusal

VALID_SECONDS = 24 * 3600


def sign(hub: Hub, claims: dict[str, Any]) -> str:
    """A short-lived token for `claims`; `exp` is added."""
    data = json.dumps(claims | {"exp": int(time.time()) + VALID_SECONDS}, sort_keys=True).encode()
    seal = hmac.new(hub.secret, data, hashlib.sha256).digest()
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (data, seal))


def claims_of(hub: Hub, token: str, use: str) -> dict[str, Any]:
    """What `sign` was given for this use; a 403 for anything else."""
    try:
        data, seal = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    except ValueError:
        data, seal = b"", b""
    if not hmac.compare_digest(hmac.new(hub.secret, data, hashlib.sha256).digest(), seal):
        raise Refusal(403, "Signature is missing or wrong")
    claims = json.loads(data)
    if claims["use"] != use or claims["exp"] < time.time():
        raise Refusal(403, "Signature has expired or is for something else: ask for a new one")
    return claims


def batch(call: Call) -> Response:
    payload = call.json()
    # A client that will open a pull request sends no ref, and may then send files to what it can only read.
    ref, repo = payload.get("ref"), call.repo()
    sending(call, repo, ref is None, Payload(ref if isinstance(ref, dict) else {}).text("name"))
    if payload.get("operation") != "upload":
        raise Refusal(501, "Only LFS uploads are implemented by the local Hub: download with resolve URLs")
    objects = []
    for item in payload.rows("objects"):
        sha256, size = item.text("oid"), item.integer("size")
        if not is_sha256(sha256) or size is None or size < 0:
            raise Refusal(400, f"Invalid LFS object {str(item)[:120]}: use a sha256 and a size in bytes")
        answer: dict[str, Any] = {"oid": sha256, "size": size}
        if not repo.has_large(sha256):
            ticket = sign(call.hub, {"use": "put", "kind": repo.kind, "id": repo.id, "oid": sha256, "size": size})
            answer["authenticated"] = True
            href = f"{call.base}/lfs/{sha256}?{urlencode({'ticket': ticket})}"
            answer["actions"] = {"upload": {"href": href, "header": {}}}
        objects.append(answer)
    body = json.dumps({"transfer": "basic", "objects": objects})
    return Response(body, media_type="application/vnd.git-lfs+json")


async def put(call: Call) -> dict[str, Any]:
    claims = claims_of(call.hub, call.query("ticket"), "put")
    if claims["oid"] != call.args["oid"]:
        raise Refusal(403, "Signature is for another file")
    repo = call.hub.store.repo(claims["kind"], claims["id"])
    draft = Draft(call.hub.store.blobs)
    try:
        async for chunk in call.request.stream():
            draft.write(chunk)
            if draft.size > claims["size"]:
                raise Refusal(400, f"More than the announced {claims['size']} bytes were sent")
        await run_in_threadpool(draft.keep, claims["oid"], claims["size"])
    except BaseException:
        draft.drop()
        raise
    await run_in_threadpool(repo.mark_large, claims["oid"])
    return {}


ROUTES: list[Route] = [
    *per_kind("POST", "{ns}/{name}.git/info/lfs/objects/batch", batch),
    ("PUT", "/lfs/{oid}", put),
]
