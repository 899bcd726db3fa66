"""Xet's binary formats, built by hand: what clients send in good order, and what damage or malice could look like."""

from __future__ import annotations

import hashlib
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import lz4.frame
import pytest

from rl2f_hub.localhub.blobs import Blobs
from rl2f_hub.localhub.refusal import Refusal
from rl2f_hub.localhub.xet import File, Term, assemble, chunks, files_of, unpack, word_hex

XORB = bytes(range(32))
VERIFIED, DESCRIBED = 0x80000000, 0x40000000


def grouped(data: bytes) -> bytes:
    return b"".join(data[i::4] for i in range(4))


def chunk(data: bytes, kind: int) -> bytes:
    packed = {0: lambda: data, 1: lambda: lz4.frame.compress(data), 2: lambda: lz4.frame.compress(grouped(data))}[
        kind
    ]()
    return b"\0" + len(packed).to_bytes(3, "little") + bytes([kind]) + len(data).to_bytes(3, "little") + packed


def swapped(raw: bytes) -> bytes:
    return b"".join(raw[i : i + 8][::-1] for i in range(0, 32, 8))


def shard(terms: list[tuple[int, int]], sha256: bytes | None, verified: bool = True) -> bytes:
    flags = (VERIFIED if verified else 0) | (DESCRIBED if sha256 else 0)
    rows = [b"h" * 48, b"f" * 32 + struct.pack("<IIQ", flags, len(terms), 0)]
    rows += [XORB + struct.pack("<IIII", 0, 0, first, end) for first, end in terms]
    rows += [b"v" * 48] * (len(terms) if verified else 0)
    rows += [swapped(sha256) + b"\0" * 16] if sha256 else []
    return b"".join(rows) + b"\xff" * 32 + b"\0" * 16 + b"xorb section and footer"


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1023, 70_001])
def test_every_kind_of_chunk_unpacks(kind: int, size: int) -> None:
    data = random.Random(size).randbytes(size)
    raw = chunk(data, kind)
    assert unpack(kind, raw[8:], size) == data


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("described", [True, False])
def test_a_file_is_put_together_from_its_chunks(tmp_path: Path, verified: bool, described: bool) -> None:
    parts = [random.Random(i).randbytes(1000 + i) for i in range(6)]
    (tmp_path / "xorbs").mkdir()
    (tmp_path / "xorbs" / word_hex(XORB)).write_bytes(
        b"".join(chunk(p, i % 3) for i, p in enumerate(parts)) + b"XETBLOBfooter"
    )
    content = b"".join(parts[2:5] + parts[0:1])
    digest = hashlib.sha256(content).digest()
    found = list(files_of(shard([(2, 5), (0, 1)], digest if described else None, verified)))
    assert found == [
        File(digest.hex() if described else None, [Term(word_hex(XORB), 2, 5), Term(word_hex(XORB), 0, 1)])
    ]
    blobs = Blobs(tmp_path)
    assert assemble(blobs, tmp_path / "xorbs", found[0]) == digest.hex()
    assert blobs.read(digest.hex()) == content and not list(blobs.tmp.iterdir())


def test_a_wrong_hash_or_a_missing_xorb_stores_nothing(tmp_path: Path) -> None:
    blobs, name = Blobs(tmp_path), word_hex(XORB)
    with pytest.raises(Refusal, match="clear HF_XET_CACHE"):
        assemble(blobs, tmp_path / "xorbs", File(None, [Term(name, 0, 1)]))
    (tmp_path / "xorbs").mkdir()
    (tmp_path / "xorbs" / name).write_bytes(chunk(b"data", 0))
    with pytest.raises(Refusal, match="not the announced content"):
        assemble(blobs, tmp_path / "xorbs", File("0" * 64, [Term(name, 0, 1)]))
    with pytest.raises(Refusal, match="no chunk 1"):
        assemble(blobs, tmp_path / "xorbs", File(None, [Term(name, 0, 2)]))
    assert not blobs.folder.exists() and not list(blobs.tmp.iterdir())


def test_a_chunk_cannot_unpack_to_more_than_it_says(tmp_path: Path) -> None:
    bomb = lz4.frame.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    for kind in (1, 2):
        (tmp_path / "x").write_bytes(b"\0" + len(bomb).to_bytes(3, "little") + bytes([kind]) + b"\x10\0\0" + bomb)
        with pytest.raises(Refusal, match="damaged"):
            list(chunks(tmp_path / "x", 0, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_damage_is_refused_and_never_crashes(tmp_path: Path) -> None:
    dice = random.Random(1)
    whole, xorb = shard([(0, 2), (1, 2)], hashlib.sha256(b"x").digest()), chunk(b"a" * 500, 1) + chunk(b"b" * 500, 2)
    for _ in range(300):
        for good, use in ((whole, lambda d: list(files_of(d))), (xorb, lambda d: read(d, tmp_path))):
            bad = bytearray(good[: dice.randrange(len(good) + 1)] if dice.random() < 0.3 else good)
            for _ in range(dice.randrange(8)):
                if bad:
                    bad[dice.randrange(len(bad))] = dice.randrange(256)
            try:
                use(bytes(bad))
            except Refusal as refusal:
                assert refusal.status == 400


def read(data: bytes, folder: Path) -> None:
    (folder / "x").write_bytes(data)
    list(chunks(folder / "x", 0, 2))


def test_xorb_and_shard_need_their_pass(http_: Any, tokens: dict[str, str]) -> None:
    name = http_.create("xet-pass")
    xorb, body = f"/cas/v1/xorbs/default/{word_hex(XORB)}", chunk(b"data", 0)
    for token in (None, "own", "x.y", tokens["bob"]):
        assert http_("POST", xorb, body, token).status == 403
        assert http_("POST", "/cas/v1/shards", shard([], None), token).status == 403
    answer = http_("GET", f"/api/models/{name}/xet-write-token/main")
    passed = answer.headers["x-xet-access-token"]
    assert answer.json()["casUrl"].endswith("/cas")
    assert http_("POST", "/cas/v1/xorbs/default/..%2f..%2fusers.json", body, passed).status == 400
    assert http_("POST", xorb, body, passed).json() == {"was_inserted": True}
    assert http_("POST", xorb, body, passed).json() == {"was_inserted": False}
    digest = hashlib.sha256(b"data").digest()
    assert http_("POST", "/cas/v1/shards", shard([(0, 1)], digest), passed).json() == {"result": 1}
    assert http_("POST", "/cas/v1/shards", shard([(0, 9)], digest[::-1]), passed).status == 400
    assert http_("GET", "/cas/v1/chunks/default/x", token=passed).status == 404
    other = http_.create("xet-pass-other")
    batch = {"operation": "upload", "objects": [{"oid": digest.hex(), "size": 4}], "ref": {"name": "main"}}
    assert "actions" not in http_("POST", f"/{name}.git/info/lfs/objects/batch", batch).json()["objects"][0]
    assert "actions" in http_("POST", f"/{other}.git/info/lfs/objects/batch", batch).json()["objects"][0]
    assert http_("GET", f"/api/models/{name}/xet-write-token/main", token=tokens["bob"]).status == 403
