"""The wire, with requests no client library would send: who may do what, paging, races, ranges, signatures."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from rl2f_hub.localhub.users import add_user


@pytest.fixture(scope="module")
def repo(http_: Any) -> str:
    """A public model with a README and a file in a folder."""
    name = http_.create("wire")
    files = {"README.md": b"---\nlicense: mit\n---\n# Hi\n", "sub/dir/a.txt": b"0123456789"}
    assert http_.commit(name, files).status == 200
    return name


def test_wrong_token_is_401_in_the_words_clients_know(http_: Any, repo: str) -> None:
    for path in ("/api/whoami-v2", f"/api/models/{repo}", f"/{repo}/resolve/main/README.md"):
        answer = http_("GET", path, token="hf_wrong")
        assert answer.status == 401
        assert answer.headers["x-error-message"] == "Invalid credentials in Authorization header"
    assert http_("GET", f"/api/models/{repo}", headers={"Authorization": "Basic YTpi"}, token=None).status == 401


def test_without_token_one_may_read_public_repositories_only(http_: Any, repo: str) -> None:
    private = http_.create("wire-private", private=True)
    assert http_("GET", f"/api/models/{repo}", token=None).status == 200
    assert http_("GET", f"/api/models/{private}", token=None).headers["x-error-code"] == "RepoNotFound"
    assert http_("POST", "/api/repos/create", {"name": "x"}, token=None).status == 401
    assert http_.commit(repo, {"x": b"x"}, token="").status == 401


def test_every_endpoint_hides_a_private_repository(http_: Any, tokens: dict[str, str]) -> None:
    name = http_.create("wire-hidden", private=True)
    assert http_.commit(name, {"a.txt": b"secret"}).status == 200
    api, body = f"/api/models/{name}", {"files": []}
    calls = [
        ("GET", api), ("GET", f"{api}/revision/main"), ("GET", f"{api}/tree/main"), ("GET", f"{api}/refs"),
        ("GET", f"{api}/commits/main"), ("POST", f"{api}/paths-info/main"), ("POST", f"{api}/preupload/main"),
        ("POST", f"{api}/commit/main"), ("GET", f"/{name}/resolve/main/a.txt"), ("HEAD", f"/{name}/resolve/main/a.txt"),
        ("POST", f"/{name}.git/info/lfs/objects/batch"), ("GET", f"{api}/xet-write-token/main"), ("GET", f"/{name}"),
        ("GET", f"{api}/auth-check"), ("POST", f"{api}/duplicate"), ("PUT", f"{api}/settings"),
        ("GET", f"{api}/discussions"), ("POST", f"{api}/discussions"), ("POST", f"/{name}/ask-access"),
        ("GET", f"{api}/user-access-request/pending"), ("POST", f"{api}/user-access-request/grant"),
        ("GET", f"/{name}/discussions"),
        ("POST", f"{api}/branch/x"), ("POST", f"{api}/tag/main"), ("GET", f"/{name}/blob/main/a.txt"),
    ]  # fmt: skip
    for method, path in calls:
        answer = http_(method, path, body if method in ("POST", "PUT") else None, tokens["bob"])
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound"), (method, path)
        assert b"secret" not in answer.body
    assert http_("GET", f"/{name}/resolve/main/a.txt").body == b"secret"


def test_users_added_later_are_known_at_once(hub: Any, http_: Any) -> None:
    assert http_("GET", "/api/whoami-v2").json()["name"] == "alice"
    token = add_user(hub.root, "latecomer")
    assert http_("GET", "/api/whoami-v2", token=token).json()["name"] == "latecomer"


def test_a_web_site_cannot_read_through_a_rebound_name(http_: Any, repo: str) -> None:
    answer = http_("GET", f"/api/models/{repo}", token=None, headers={"Host": "evil.example:80"})
    assert answer.status == 403 and "Host" in answer.json()["error"]


def test_slashes_inside_a_segment_are_part_of_it(http_: Any, repo: str) -> None:
    api = f"/api/models/{repo}"
    assert http_("POST", f"{api}/branch/dev%2Fx", {}).status == 200
    assert [i["path"] for i in http_("GET", f"{api}/tree/dev%2Fx/sub%2Fdir").json()] == ["sub/dir/a.txt"]
    assert http_("GET", f"/{repo}/resolve/dev%2Fx/sub/dir/a.txt").body == b"0123456789"
    assert http_("GET", f"/{repo}/resolve/dev/x/sub/dir/a.txt").headers["x-error-code"] == "RevisionNotFound"


def test_ranges_and_headers_of_a_download(http_: Any, repo: str) -> None:
    path = f"/{repo}/resolve/main/sub/dir/a.txt"
    part = http_("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert http_("GET", path, headers={"Range": "bytes=20-"}).status == 416
    head = http_("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
    assert head.headers["etag"] == '"ad471007bd7f5983d273b9584e5629230150fd54"'  # git's own hash of 0123456789
    assert head.headers["x-repo-commit"] == http_("GET", f"/api/models/{repo}").json()["sha"]
    for known, status in ((head.headers["etag"], 304), (f'"x", W/{head.headers["etag"]}', 304), ('"x"', 200)):
        again = http_("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.headers["etag"]) == (status, head.headers["etag"])
        assert again.body == (b"" if status == 304 else b"0123456789")
    assert "x-xet-hash" not in head.headers and "sandbox" in head.headers["content-security-policy"]


def test_a_page_in_a_repository_is_never_served_as_a_page(http_: Any, repo: str) -> None:
    assert http_.commit(repo, {"evil.html": b"<script>alert(1)</script>", "x.svg": b"<svg/>"}).status == 200
    answer = http_("GET", f"/{repo}/resolve/main/evil.html")
    assert (
        answer.headers["content-type"].startswith("text/plain")
        and answer.headers["x-content-type-options"] == "nosniff"
    )


def test_paging_of_a_tree(http_: Any) -> None:
    name = http_.create("wire-pages", "dataset")
    files = {f"d{i % 3}/f{i:02d}": b"x" for i in range(20)}
    assert http_.commit(name, files, kind="dataset").status == 200
    seen, path = [], f"/api/datasets/{name}/tree/main?recursive=True&limit=7"
    while path:
        answer = http_("GET", path)
        assert len(answer.json()) <= 7 and len(seen) < 50
        seen += [item["path"] for item in answer.json()]
        link = answer.headers.get("link", "")
        parts = urlsplit(link[1 : link.index(">")]) if link else None
        path = f"{parts.path}?{parts.query}" if parts else ""
    assert seen == sorted([*files, "d0", "d1", "d2", ".gitattributes"])
    pages = [http_("GET", f"/api/datasets/{name}/commits/main?limit=1&p={p}").json() for p in range(3)]
    assert [[c["title"] for c in page] for page in pages] == [["a commit"], ["initial commit"], []]


def test_eight_clients_with_stale_parents_lose_nothing(http_: Any) -> None:
    name = http_.create("wire-race")
    conflicts: list[int] = []

    def work(me: int) -> None:
        parent = first
        for i in range(3):
            while True:
                answer = http_.commit(name, {f"{me}/{i}": b"x"}, parentCommit=parent)
                if answer.status == 200:
                    parent = answer.json()["commitOid"]
                    break
                conflicts.append(answer.status)
                parent = http_("GET", f"/api/models/{name}").json()["sha"]

    first = http_("GET", f"/api/models/{name}").json()["sha"]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    siblings = http_("GET", f"/api/models/{name}").json()["siblings"]
    assert len(siblings) == 1 + 24 and set(conflicts) == {412}
    assert len(http_("GET", f"/api/models/{name}/commits/main").json()) == 25


def test_parquet_and_large_files_go_by_lfs(http_: Any, repo: str) -> None:
    files = [("a.parquet", 10), ("b.txt", 10), ("c.txt", 50_000_000), ("README.md", 5), ("w.safetensors", 5)]
    body = {"files": [{"path": p, "size": s, "sample": ""} for p, s in files]}
    answers = http_("POST", f"/api/models/{repo}/preupload/main", body).json()["files"]
    assert [a["uploadMode"] for a in answers] == ["lfs", "regular", "lfs", "regular", "lfs"]
    assert answers[3]["oid"] and not answers[1]["oid"]


def batch(http_: Any, repo: str, data: bytes, token: str = "own") -> Any:
    sha256 = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": len(data)}], "ref": {"name": "main"}}
    return http_("POST", f"/{repo}.git/info/lfs/objects/batch", body, token)


def upload_path(answer: Any) -> str:
    parts = urlsplit(answer.json()["objects"][0]["actions"]["upload"]["href"])
    return f"{parts.path}?{parts.query}"


def test_a_signed_upload_takes_only_what_was_announced(http_: Any, repo: str, tokens: dict[str, str]) -> None:
    data = b"large" * 1000
    assert batch(http_, repo, data, tokens["bob"]).status == 403
    path = upload_path(batch(http_, repo, data))
    assert http_("PUT", path, data + b"!", token=None).status == 400
    assert http_("PUT", path, b"other" * 1000, token=None).status == 400
    assert http_("PUT", path[:-3] + "xyz", data, token=None).status == 403
    other = hashlib.sha256(b"x").hexdigest()
    assert http_("PUT", f"/lfs/{other}?{path.partition('?')[2]}", b"x", token=None).status == 403
    assert "actions" in batch(http_, repo, data).json()["objects"][0]  # none of these was kept
    assert http_("PUT", path, data, token=None).status == 200
    assert "actions" not in batch(http_, repo, data).json()["objects"][0]
    mine = http_.create("wire-lfs-other")
    assert "actions" in batch(http_, mine, data).json()["objects"][0]  # known to one repository is not known to all


def test_an_uploaded_large_file_can_be_committed(http_: Any, repo: str) -> None:
    data = b"weights" * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    line = {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": sha256, "size": len(data)}}
    body = "\n".join(map(json.dumps, [{"key": "header", "value": {"summary": "w"}}, line])).encode()
    refused = http_("POST", f"/api/models/{repo}/commit/main", body)
    assert refused.status == 400 and "was not uploaded" in refused.json()["error"]
    assert http_("PUT", upload_path(batch(http_, repo, data)), data, token=None).status == 200
    assert http_("POST", f"/api/models/{repo}/commit/main", body).status == 200
    head = http_("HEAD", f"/{repo}/resolve/main/w.bin")
    assert head.headers["x-linked-etag"] == f'"{sha256}"' and head.headers["x-linked-size"] == str(len(data))


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/collections/x"), ("POST", "/api/models/{repo}/like"), ("GET", "/api/daily_papers"),
     ("GET", "/api/settings/webhooks"), ("PATCH", "/api/models/{repo}")],
)  # fmt: skip
def test_what_is_not_implemented_says_so(http_: Any, repo: str, method: str, path: str) -> None:
    answer = http_(method, path.format(repo=repo), {} if method != "GET" else None)
    assert answer.status == 501 and "not implemented by the local Hub" in answer.json()["error"]


def test_names_with_unusual_letters_survive_urls(http_: Any, repo: str) -> None:
    path = "ünï/日本 語 #1?.txt"
    assert http_.commit(repo, {path: b"x"}).status == 200
    answer = http_("GET", f"/{repo}/resolve/main/{quote(path)}")
    assert answer.body == b"x" and answer.headers["content-disposition"].startswith("inline; filename*=UTF-8''")
    assert http_("GET", f"/{repo}/blob/main/{quote(path)}").status == 200


def test_the_log_holds_no_secret(hub: Any, http_: Any, repo: str, tokens: dict[str, str]) -> None:
    http_("PUT", upload_path(batch(http_, repo, b"logged")), b"logged", token=None)
    log = (hub.root / "server.log").read_text()
    assert f"/api/models/{repo}" in log
    assert not any(secret in log for secret in (hub.token, *tokens.values(), "ticket=", "hf_"))


def test_an_address_with_a_slash_behind_it_works_with_every_client(
    http_: Any, hub: Any, client_env: Any, tmp_path: Path
) -> None:
    """`datasets` puts its paths behind HF_ENDPOINT as it is."""
    repo = http_.create("slashes", "dataset")
    assert http_.commit(repo, {"train.jsonl": b'{"a": 1}\n'}, "dataset").status == 200
    assert http_("GET", f"//api/datasets/{repo}").status == 200
    code = f"from datasets import load_dataset; print(len(load_dataset({repo!r}, split='train')))"
    env = client_env(tmp_path, HF_ENDPOINT=f"{hub.endpoint}/")
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr[-2000:]
