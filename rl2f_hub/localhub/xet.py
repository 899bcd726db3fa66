"""The write half of Xet, so that clients with hf_xet active (its default) can upload without any setting.

A client sends packed chunks ("xorbs") and then a "shard" that lists, for every file, which chunks make it up. We
keep the xorbs (clients remember for weeks which ones a server has), put each file together once, check its sha256
and store it as a plain blob. Downloads carry no Xet headers, so clients fetch them over plain HTTP: there is no read
half. Binary layouts: https://huggingface.co/docs/xet (shard and xorb formats).

Not checked: that a xorb's name is the Merkle hash of its chunks. Users of one local Hub trust each other that far; a
wrong xorb can only make an upload fail, because every file's sha256 is compared.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from .app import Call, Route
from .blobs import Blobs, Draft, is_sha256
from .files_api import upload_repo
from .lfs import claims_of, sign
from .refusal import Refusal

ROW = 48  # every record of a shard has this size
SHARD_BYTES = 256 * 1024 * 1024
XORB_BYTES = 128 * 1024 * 1024
CHUNK_BYTES = 16 * 1024 * 1024
HAS_VERIFICATION, HAS_METADATA = 0x80000000, 0x40000000


class Term(NamedTuple):
    xorb: str
    first: int
    end: int  # exclusive


class File(NamedTuple):
    sha256: str | None
    terms: list[Term]


def word_hex(raw: bytes) -> str:
    """Xet writes a hash as four little-endian 64-bit words."""
    return b"".join(raw[i : i + 8][::-1] for i in range(0, 32, 8)).hex()


def files_of(shard: bytes) -> Iterator[File]:
    """The file section of a shard: header, then blocks of rows, then a row that begins with 32 bytes of FF."""
    at = ROW
    while True:
        row = shard[at : at + ROW]
        if len(row) < ROW:
            raise Refusal(400, "Shard ends before its file section does")
        if row[:32] == b"\xff" * 32:
            return
        flags, count = struct.unpack_from("<II", row, 32)
        at += ROW
        if at + count * ROW > len(shard):  # before anything is done `count` times
            raise Refusal(400, "Shard ends inside a file")
        terms = []
        for row in (shard[at + i * ROW : at + (i + 1) * ROW] for i in range(count)):
            _, _, first, end = struct.unpack_from("<IIII", row, 32)
            terms.append(Term(word_hex(row[:32]), first, end))
        at += ROW * count * (2 if flags & HAS_VERIFICATION else 1)
        sha256 = None
        if flags & HAS_METADATA:
            sha256 = word_hex(shard[at : at + 32])
            at += ROW
        yield File(sha256, terms)


def unpack(kind: int, data: bytes, size: int) -> bytes:
    """A chunk's content. Kinds: 0 stored, 1 LZ4 frame, 2 LZ4 of bytes regrouped by their position modulo 4."""
    if kind == 0:
        return data
    if kind not in (1, 2):
        raise Refusal(400, f"Chunk of unknown compression {kind}")
    import lz4.frame

    try:
        plain = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1)
    except RuntimeError as error:
        raise Refusal(400, f"Chunk cannot be unpacked: {error}") from None
    if kind == 1 or len(plain) != size:
        return plain
    whole, start = bytearray(size), 0
    for group in range(4):
        length = (size + 3 - group) // 4
        whole[group::4] = plain[start : start + length]
        start += length
    return bytes(whole)


def chunks(xorb: Path, first: int, end: int) -> Iterator[bytes]:
    """Chunks `first` to `end` of a xorb. Header of each: version, 3 bytes packed size, kind, 3 bytes plain size."""
    with open(xorb, "rb") as file:
        for number in range(end):
            header = file.read(8)
            if len(header) < 8:
                raise Refusal(400, f"Xorb {xorb.name} has no chunk {number}")
            packed, size = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little")
            if number < first:
                file.seek(packed, 1)
                continue
            content = unpack(header[4], file.read(packed), size) if size <= CHUNK_BYTES else b""
            if len(content) != size:
                raise Refusal(400, f"Chunk {number} of xorb {xorb.name} is damaged")
            yield content


def assemble(blobs: Blobs, xorbs: Path, file: File) -> str:
    """Store one file as a blob; returns its sha256."""
    draft = Draft(blobs)
    try:
        for term in file.terms:
            xorb = xorbs / term.xorb
            if not xorb.exists():
                raise Refusal(400, f"Shard names xorb {term.xorb}, which this server has not: clear HF_XET_CACHE")
            for chunk in chunks(xorb, term.first, term.end):
                draft.write(chunk)
        return draft.keep(file.sha256)
    except BaseException:
        draft.drop()
        raise


def write_token(call: Call) -> Response:
    """Where to send chunks, and the pass for it. With ?create_pr=1 the revision in the URL means nothing."""
    repo = upload_repo(call)
    if not call.flag("create_pr"):
        repo.resolve(call.args["rev"])
    token = sign(call.hub, {"use": "xet", "kind": repo.kind, "id": repo.id})
    url, expires = f"{call.base}/cas", claims_of(call.hub, token, "xet")["exp"]
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(expires)}
    return JSONResponse({"accessToken": token, "exp": expires, "casUrl": url}, headers=headers)


def _claims(call: Call) -> dict[str, Any]:
    return claims_of(call.hub, call.request.headers.get("authorization", "").removeprefix("Bearer "), "xet")


async def put_xorb(call: Call) -> dict[str, Any]:
    _claims(call)
    name, store = call.args["hash"], call.hub.store
    if not is_sha256(name):  # not a sha256, but written like one
        raise Refusal(400, f"Invalid xorb name {name[:80]!r}")
    target = store.root / "xorbs" / name
    draft = Draft(store.blobs)
    try:
        async for part in call.request.stream():
            draft.write(part)
            if draft.size > XORB_BYTES:
                raise Refusal(413, f"Xorb is larger than {XORB_BYTES} bytes")
        new = await run_in_threadpool(draft.keep_as, target)
    except BaseException:
        draft.drop()
        raise
    return {"was_inserted": new}


async def put_shard(call: Call) -> dict[str, Any]:
    claims, parts, size = _claims(call), [], 0
    async for part in call.request.stream():
        parts.append(part)
        size += len(part)
        if size > SHARD_BYTES:
            raise Refusal(413, f"Shard is larger than {SHARD_BYTES} bytes")
    store = call.hub.store
    repo = store.repo(claims["kind"], claims["id"])

    def register() -> None:
        for file in files_of(b"".join(parts)):
            # A file known elsewhere is put together again: only who has its chunks may have it in this repository.
            if file.sha256 is None or not repo.has_large(file.sha256):
                repo.mark_large(assemble(store.blobs, store.root / "xorbs", file))

    await run_in_threadpool(register)
    return {"result": 1}


ROUTES: list[Route] = [
    ("GET", "/api/{kind}/{ns}/{name}/xet-write-token/{rev}", write_token),
    ("POST", "/cas/v1/xorbs/default/{hash}", put_xorb),
    ("POST", "/cas/v1/shards", put_shard),
]
