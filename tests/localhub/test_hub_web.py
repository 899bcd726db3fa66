"""The pages: they show what is there, and hostile content stays text. No script, no other host, no private thing."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest

from rl2f_hub.localhub.preview import cell, configs

HOSTILE = r"""---
license: mit
tags: ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>"]
---
# Title <script>alert(1)</script>

<img src=x onerror=alert(1)> <iframe src="https://evil.example"></iframe> <style>*{display:none}</style>

[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>alert(1)</script>)
[d](vbscript:x) [e](&#106;avascript:alert(1)) [f](java%0ascript:alert(1)) [g]( javascript:alert(1))
[h](//evil.example/x) [i](../../../../users.json) [j](file:///etc/passwd) [k](\\evil\x)
![x](https://evil.example/pixel.png) ![y](javascript:alert(1)) ![z](" onerror="alert(1)) ![w](//evil.example/p.png)
![svg](data:image/svg+xml;base64,PHN2Zz4=) <a href="x" onclick="alert(1)">t</a>
[ok](https://example.org/?a=1&b="2") [file](docs/a.md) ![pic](images/p.png "t\" onload=\"alert(1)") <https://auto.example>

| a<script> | b |
|:--|--:|
| <b onmouseover=alert(1)> | `</code><script>alert(1)</script>` |

```"><script>alert(1)</script>
</pre><script>alert(1)</script>
```
"""


class Elements(HTMLParser):
    """Every element of a page, as a browser would see it."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_harmless(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Fail on anything active or remote; returns the elements."""
    elements = Elements(page).found
    for tag, attrs in elements:
        assert tag not in ("script", "iframe", "object", "embed", "style", "base", "frame", "applet"), (tag, attrs)
        for name, value in attrs.items():
            assert not name.startswith("on") and name not in ("style", "srcdoc", "formaction", "srcset"), (tag, attrs)
            if name in ("href", "src", "action"):
                parts = urlsplit(str(value))
                if tag == "a":
                    assert parts.scheme in ("", "http", "https", "mailto") and (parts.scheme or not parts.netloc), attrs
                else:
                    assert (parts.scheme, parts.netloc) == ("", "") or str(value).startswith("data:image/"), attrs
    return elements


@pytest.fixture(scope="module")
def hostile(http_: Any) -> str:
    name = http_.create("hostile", "dataset")
    files = {"README.md": HOSTILE.encode(), "<img src=x onerror=alert(1)>/\"'><b>.txt": HOSTILE.encode()}
    answer = http_.commit(name, files, kind="dataset", description=HOSTILE, summary='<script>alert(1)</script>" onx=1')
    assert answer.status == 200, answer.text
    return name


def pages_of(http_: Any, repo: str) -> list[str]:
    oid = http_("GET", f"/api/datasets/{repo}").json()["sha"]
    base = f"/datasets/{repo}"
    weird = "%3Cimg%20src=x%20onerror=alert(1)%3E"
    paths = ["/", "/?search=<script>alert(1)</script>", f"/{repo.split('/')[0]}", base, f"{base}?config=<script>"]
    paths += [f"{base}/tree/main", f"{base}/tree/main/{weird}", f"{base}/blob/main/README.md", f"{base}/commits/main"]
    return [
        *paths,
        f"{base}/blob/main/{weird}/%22%27%3E%3Cb%3E.txt",
        f"{base}/commit/{oid}",
        f"{base}/tree/%3Cscript%3E",
    ]


def test_hostile_content_stays_text_on_every_page(http_: Any, hostile: str) -> None:
    for path in pages_of(http_, hostile):
        answer = http_("GET", path.replace("<", "%3C").replace(">", "%3E"), token=None, headers={"Accept": "text/html"})
        assert answer.headers["content-type"].startswith("text/html"), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script" not in policy and "unsafe" not in policy
        check_harmless(answer.text)


def test_the_card_keeps_what_is_harmless(http_: Any, hostile: str) -> None:
    page = http_("GET", f"/datasets/{hostile}", token=None).text
    elements = check_harmless(page)
    links = [attrs.get("href") for tag, attrs in elements if tag == "a"]
    assert "https://example.org/?a=1&b=%222%22" in links and "https://auto.example" in links
    assert f"/datasets/{hostile}/blob/main/docs/a.md" in links
    assert "https://evil.example/pixel.png" in links  # an image from elsewhere is a link, not a request
    images = [attrs["src"] for tag, attrs in elements if tag == "img"]
    assert images == [f"/datasets/{hostile}/resolve/main/images/p.png"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and 'class="right"' in page


def test_private_repositories_are_on_no_page(http_: Any) -> None:
    name = http_.create("web-private", private=True)
    for token in (None, "own"):
        assert "web-private" not in http_("GET", "/", token=token).text
        for page in ("", "/tree/main", "/blob/main/.gitattributes", "/commits/main"):
            answer = http_("GET", f"/{name}{page}", token=token, headers={"Accept": "text/html"})
            assert answer.status == 404 and "<h1>404</h1>" in answer.text


def test_pages_of_a_model_and_a_space(http_: Any) -> None:
    model = http_.create("web-model")
    card = b"---\nlibrary_name: peft\npipeline_tag: text-generation\n---\n# An adapter\n"
    files = {"README.md": card, "adapter_config.json": b"{}", "src/a.py": b"print('<1>')\n", "x.bin": b"\0\1"}
    assert http_.commit(model, files, summary="Add the adapter").status == 200
    page = http_("GET", f"/{model}", token=None).text
    assert "An adapter" in page and "PeftModel.from_pretrained" in page and "text-generation" in page
    assert "Add the adapter" in http_("GET", f"/{model}/commits/main", token=None).text
    assert "<span>print(&#x27;&lt;1&gt;&#x27;)</span>" in http_("GET", f"/{model}/blob/main/src/a.py", token=None).text
    assert "A binary file" in http_("GET", f"/{model}/blob/main/x.bin", token=None).text
    tree = http_("GET", f"/{model}/tree/main", token=None).text
    assert "src/" in tree and "Add the adapter" in tree
    http_("POST", "/api/repos/create", {"name": "web-space", "type": "space", "sdk": "gradio"})
    assert "not built" in http_("GET", "/spaces/alice/web-space", token=None).text
    assert "web-space" in http_("GET", "/?kind=space", token=None).text


def test_the_url_of_a_pull_request_leads_somewhere(http_: Any) -> None:
    name = http_.create("web-pr")
    line = b'{"key": "header", "value": {"summary": "Proposal"}}'
    made = http_("POST", f"/api/models/{name}/commit/main?create_pr=1", line).json()
    answer = http_("GET", urlsplit(made["pullRequestUrl"]).path, token=None)
    assert answer.status == 200 and "Proposal" in answer.text and "into main" in answer.text


def test_collections_discussions_and_results_are_shown_and_stay_text(http_: Any) -> None:
    name, hidden = http_.create("web-shelf"), http_.create("web-shelf-hidden", private=True)
    evil = "<script>alert(1)</script>"
    scores = f"- dataset: {{id: '{evil}', task_id: '{evil}'}}\n  value: 0.625\n  notes: '{evil}'\n"
    files = {".eval_results/ours.yaml": scores.encode(), ".eval_results/broken.yaml": b"- value: '<b>'\n"}
    assert http_.commit(name, files).status == 200
    page = http_("GET", f"/{name}", token=None).text
    check_harmless(page)
    assert "Evaluation results" in page and "0.625" in page and "dataset needs the strings" in page
    shelf = http_("POST", "/api/collections", {"title": f"Shelf {evil}", "description": evil}).json()["slug"]
    for item in ({"type": "model", "id": name}, {"type": "model", "id": hidden}, {"type": "paper", "id": "2602.16066"}):
        assert http_("POST", f"/api/collections/{shelf}/items", {"item": item, "note": evil}).status == 200
    secret = http_("POST", "/api/collections", {"title": "web secret shelf", "private": True}).json()["slug"]
    talk = http_("POST", f"/api/models/{name}/discussions", {"title": evil, "description": HOSTILE[30:]}).json()["num"]
    http_("POST", f"/api/models/{name}/discussions/{talk}/status", {"status": "closed", "comment": evil})
    http_("POST", f"/api/models/{name}/discussions/{talk}/title", {"title": evil * 2})
    for path in ("/", "/collections", f"/collections/{shelf}", f"/{name}/discussions", f"/{name}/discussions/{talk}"):
        for token in (None, "own"):
            answer = http_("GET", path, token=token)
            assert answer.status == 200, path
            check_harmless(answer.text)
            assert "web secret shelf" not in answer.text and hidden not in answer.text, path
    page = http_("GET", f"/collections/{shelf}", token=None).text
    assert f'href="/{name}"' in page and 'href="https://arxiv.org/abs/2602.16066"' in page and "&lt;script&gt;" in page
    page = http_("GET", f"/{name}/discussions/{talk}", token=None).text
    assert "closed" in page and "changed the title" in page
    for path in (
        f"/collections/{secret}",
        f"/{hidden}/discussions",
        f"/{name}/discussions/99",
        f"/{name}/discussions/x",
    ):
        assert http_("GET", path, headers={"Accept": "text/html"}).status == 404, path


def test_a_gated_dataset_shows_its_card_but_not_its_rows(http_: Any) -> None:
    name = http_.create("web-gated", "dataset")
    files = {"README.md": b"# What it is", "rows.parquet": parquet({"word": ["hush-hush"]}), "a.txt": b"hush-hush"}
    assert http_.commit(name, files, kind="dataset").status == 200
    assert "hush-hush" in http_("GET", f"/datasets/{name}", token=None).text
    assert http_("PUT", f"/api/datasets/{name}/settings", {"gated": "manual"}).status == 200
    page = http_("GET", f"/datasets/{name}", token=None).text
    assert "What it is" in page and "Gated (manual)" in page and "hush-hush" not in page
    for path in ("rows.parquet", "a.txt"):
        answer = http_("GET", f"/datasets/{name}/blob/main/{path}", token=None)
        assert (answer.status, answer.headers["x-error-code"]) == (401, "GatedRepo")


def parquet(columns: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_preview_of_every_config(http_: Any) -> None:
    """Parquet committed inline: what matters here is the page, not the transport."""
    name = http_.create("web-data", "dataset")
    talk = [[{"role": "user", "content": "<b>2+2</b>?"}, {"role": "assistant", "content": "4"}]] * 30
    card = (
        b"---\nconfigs:\n- config_name: dialogues\n  data_files:\n  - split: train\n    path: dialogues/train-*\n"
        b"- config_name: tasks\n  data_files: tasks/*.parquet\n---\n# Data\n"
    )
    files = {
        "README.md": card,
        "dialogues/train-0.parquet": parquet({"id": list(range(30)), "messages": talk, "long": ["x" * 9000] * 30}),
        "tasks/a.parquet": parquet({"<i>name</i>": ["<script>alert(1)</script>", None], "raw": [b"\0" * 99, b""]}),
        "broken/x.parquet": b"PAR1 this is no parquet PAR1",
        "wide.parquet": parquet({f"c{i}": [i] for i in range(60)}),
    }
    assert http_.commit(name, files, kind="dataset").status == 200
    page = http_("GET", f"/datasets/{name}", token=None).text
    check_harmless(page)
    assert page.count("<tr>") == 21 and "First 20 of 30 rows of dialogues/train-0.parquet" in page
    assert '<div class="turn"><b>user</b> &lt;b&gt;2+2&lt;/b&gt;?</div>' in page and "x" * 401 not in page
    page = http_("GET", f"/datasets/{name}?config=tasks", token=None).text
    check_harmless(page)
    assert "&lt;script&gt;" in page and "99 bytes" in page and "null" in page
    assert "cannot be shown" in http_("GET", f"/datasets/{name}/blob/main/broken/x.parquet", token=None).text
    assert "35 more columns" in http_("GET", f"/datasets/{name}/blob/main/wide.parquet", token=None).text


def test_configs_without_a_card_are_the_folders() -> None:
    tree: Any = dict.fromkeys(["a/1.parquet", "a/2.parquet", "b/1.parquet", "top.parquet", "x.txt"])
    assert configs(tree, {}) == {"a": ["a/1.parquet", "a/2.parquet"], "b": ["b/1.parquet"], "default": ["top.parquet"]}
    for odd in (
        {"configs": "x"},
        {"configs": [1, {"config_name": 3}]},
        {"configs": [{"config_name": "a", "data_files": 5}]},
    ):
        assert set(configs(tree, odd)) == {"a", "b", "default"}


def test_cells_are_cut() -> None:
    assert len(cell({"k": "v" * 10_000})) < 600 and len(cell([{"role": "r" * 900, "content": "c" * 9000}] * 50)) < 4000


def test_a_hostile_card_is_shown_quickly(http_: Any) -> None:
    name = http_.create("web-slow")
    body = (
        b"---\na: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n---\n"
        + b"[" * 50_000
        + b"*" * 50_000
        + b">" * 20_000
        + b"a\n" * 400_000
    )
    assert http_.commit(name, {"README.md": body}).status == 200
    answer = http_("GET", f"/{name}", token=None)
    assert answer.status == 200 and len(answer.body) < 2_000_000


def test_style_and_links_of_a_page_exist(http_: Any, hostile: str) -> None:
    page = http_("GET", "/", token=None).text
    for tag, attrs in Elements(page).found:
        target = attrs.get("href")
        if tag in ("a", "link") and target:
            assert http_("GET", target, token=None).status == 200, target
    css = http_("GET", "/-/style.css", token=None)
    assert css.headers["content-type"].startswith("text/css") and "prefers-color-scheme:dark" in css.text
    assert not re.search(r"url\(|@import|https?:", css.text)
