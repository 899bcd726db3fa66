"""The demo page in a real browser, on a real server with a real adapter of a tiny random model.

Chromium is the system's own. The page may speak to its own server only, must log no error, and must show hostile text
as text. Screenshots are left in tests/artifacts/ to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

REPO = Path(__file__).resolve().parents[2]
SPACE = REPO / "spaces" / "feedback-demo"
ARTIFACTS = REPO / "tests" / "artifacts"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
HOSTILE = (
    '<img src=x onerror="window.hacked=1"> ![a](http://evil.invalid/a.png) <script>window.hacked=1</script> '
    "[b](javascript:window.hacked=1) $$x^2$$ **bold** <|end|><|user|>\n\n    # not a heading\n<!-- hidden --> 5"
)
RTL = "لا، الرقم منخفض 🙂\u202egnp.exe"


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """Serves the page over given players; gives its address."""
    from rl2f_hub.demo import build_demo, launch_settings

    pages = []

    def start(players: list[Any], tasks: tuple[Any, ...] = ()) -> str:
        page = build_demo(players, tasks, model_name="tests/tiny <b>student</b>")
        settings = {"server_name": "127.0.0.1", "server_port": _free_port(), "quiet": True}
        _, address, _ = page.launch(prevent_thread_lock=True, **settings, **launch_settings())
        pages.append(page)
        return address

    yield start
    for page in pages:
        page.close(verbose=False)


@pytest.fixture(scope="module")
def address(serve: Callable[..., str], make_model: Callable[..., Any], tokenizer: Any) -> str:
    """A page with base and adapter of one tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model

    from rl2f_hub.demo import players_of

    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return serve(players_of(get_peft_model(make_model(), config).eval(), tokenizer, True))


@pytest.fixture(scope="module")
def scripted(serve: Callable[..., str], saying: Callable[..., Any]) -> str:
    """A page whose players say hostile text; the second one is right at its second attempt."""
    from rl2f_hub.demo import Player

    hostile = Player("Base", "scripted", saying([HOSTILE, HOSTILE, "6"]))
    return serve([hostile, Player("RL2F", "scripted", saying(["5", "6", "never said"]))])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("the page is tested in a real browser: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page as a new visitor. At the end of the test, nobody may have seen an error or another host."""
    troubles: list[str] = []
    contexts = []

    def come(address: str, width: int = 1440, height: int = 1000, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(f"error: {e}"))
        page.on("dialog", lambda d: troubles.append(f"dialog: {d.message}"))
        page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: troubles.append(f"request: {r.url}") if _is_foreign(r.url) else None)
        page.goto(address)
        page.wait_for_selector("#attempt")
        return page

    yield come
    for context in contexts:
        context.close()
    assert troubles == []


def _is_foreign(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def _chats(page: Any, attempts: int, label: str = "rl2f") -> list[str]:
    """The texts of both dialogues, once the named player has made that many attempts."""
    page.wait_for_function(
        "([chat, n]) => document.querySelectorAll(`#chat-${chat} .rl2f-mark:not(.rl2f-repeat)`).length === n"
        " && !document.body.innerText.includes('thinking…')",
        arg=[label, attempts],
    )
    return [page.inner_text("#chat-base"), page.inner_text("#chat-rl2f")]


def test_a_visit_and_a_second_visitor(visitor: Callable[..., Any], address: str) -> None:
    first, second = visitor(address), visitor(address)
    assert first.locator("#send").is_disabled()
    first.click("#attempt")
    for text in _chats(first, 1):
        assert "23 * 34" in text
        assert "✗ wrong" in text
    first.fill("#feedback textarea", HOSTILE + RTL)
    first.click("#send")
    for text in _chats(first, 2):
        assert '<img src=x onerror="window.hacked=1"> ![a](http://evil.invalid/a.png)' in text
        assert "\u202e" not in text
    assert first.input_value("#feedback textarea") == ""
    assert second.locator("#chat-base .rl2f-mark").count() == 0
    second.fill("#prompt textarea", "Which animal is it?")
    second.fill("#reference textarea", "zebra")
    second.click("#attempt")
    assert "Which animal is it?" in _chats(second, 1)[0]
    first.click("#teacher")
    for text in _chats(first, 3):
        assert "Teacher" in text
        assert "animal" not in text
    assert "attempt 3 of 8" in first.inner_text("body")
    assert "attempt 1 of 8" in second.inner_text("body")
    first.click("text=Inspect")
    first.get_by_text("What the teacher knew").wait_for()
    assert '"782"' in first.inner_text("body")
    assert first.evaluate("window.hacked") is None
    first.click("#reset")
    first.wait_for_function("document.querySelectorAll('.rl2f-mark').length === 0")
    assert first.locator("#teacher").is_disabled()


def test_hostile_model_text_and_who_is_right(visitor: Callable[..., Any], scripted: str) -> None:
    page = visitor(scripted)
    page.fill("#prompt textarea", "What is 2 * 3?")
    page.fill("#reference textarea", "6")
    page.click("#attempt")
    text = _chats(page, 1)[0]
    assert '<img src=x onerror="window.hacked=1"> ![a](http://evil.invalid/a.png)' in text
    assert "[b](javascript:window.hacked=1) $$x^2$$ **bold** <|end|><|user|>" in text
    assert "# not a heading" in text
    assert "<!-- hidden --> 5" in text
    assert page.locator("#chat-base").locator("img, script, a, h1, strong, .katex").count() == 0
    page.click("#teacher")
    base, tuned = _chats(page, 2)
    assert "↻ repeat" in base
    assert "✓ correct: 6" in tuned
    assert "Wrong: units 5 too low." in tuned
    page.fill("#feedback textarea", "too low")
    page.press("#feedback textarea", "Enter")
    base, tuned = _chats(page, 3, "base")
    assert "✓ correct: 6" in base
    assert "never said" not in tuned
    assert "This task is over. Solved: Base at attempt 3, RL2F at attempt 2." in page.inner_text("#notice")
    assert page.locator("#send").is_disabled()
    assert page.evaluate("window.hacked") is None


def test_what_is_refused_is_said_and_changes_nothing(visitor: Callable[..., Any], address: str) -> None:
    page = visitor(address)
    page.fill("#prompt textarea", "x" * 100_000)
    page.click("#attempt")
    page.get_by_text("100,000 characters; up to 4,000 fit").first.wait_for()
    page.fill("#prompt textarea", "  ")
    page.click("#attempt")
    page.get_by_text("There is no task yet").first.wait_for()
    page.fill("#prompt textarea", "Why?\x00\x07")
    page.fill("#reference textarea", "")
    page.click("#attempt")
    assert "? not checked" in _chats(page, 1)[0]
    assert page.locator("#teacher").is_disabled()
    page.click("#send")
    page.get_by_text("There is no feedback yet").first.wait_for()
    assert len(_chats(page, 1)) == 2


def test_a_random_task_fills_the_boxes(visitor: Callable[..., Any], address: str) -> None:
    page = visitor(address)
    page.fill("#prompt textarea", "")
    page.click("#random")
    page.wait_for_function("document.querySelector('#prompt textarea').value !== ''")
    page.click("#choice input")
    page.get_by_role("option").nth(3).click()
    page.wait_for_function("document.querySelector('#prompt textarea').value.includes('8147')")
    assert page.input_value("#reference textarea") == "38"


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("wide", 1440, "light"), ("phone", 375, "light"), ("dark", 1440, "dark")]
)
def test_how_it_looks(visitor: Callable[..., Any], scripted: str, name: str, width: int, scheme: str) -> None:
    page = visitor(scripted, width, color_scheme=scheme)
    page.click("#attempt")
    _chats(page, 1)
    page.click("#teacher")
    _chats(page, 2)
    ARTIFACTS.mkdir(exist_ok=True)
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    page.screenshot(path=ARTIFACTS / f"demo-{name}.png", full_page=True)
    page.click("text=Inspect")
    page.get_by_text("What the teacher knew").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    fonts = page.evaluate("getComputedStyle(document.querySelector('#attempt')).fontFamily")
    assert "system-ui" in fonts
    light = _lightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (light < 100) == (scheme == "dark")


def _lightness(colour: str) -> float:
    return sum(float(n) for n in re.findall(r"[\d.]+", colour)[:3]) / 3


def test_contrast_is_not_washed_out(visitor: Callable[..., Any], scripted: str) -> None:
    page = visitor(scripted)
    page.click("#attempt")
    _chats(page, 1)
    opacity = """() => {
        let total = 1;
        for (let e = document.querySelector(".rl2f-mark"); e; e = e.parentElement) total *= getComputedStyle(e).opacity;
        return total;
    }"""
    assert page.evaluate(opacity) == 1


def test_named_endpoints_play_an_episode(scripted: str) -> None:
    """gradio_client can drive a dialogue, and each client has its own."""
    from gradio_client import Client

    one, other = Client(scripted, verbose=False), Client(scripted, verbose=False)
    *_, seen, secret = one.predict("What is 2 * 3?", "6", 0, 64, api_name="/attempt")
    assert [m["role"] for m in seen["RL2F"]["messages"]] == ["user", "assistant"]
    assert secret["RL2F"]["reference"] == "6"
    *_, seen, secret = one.predict("too low", 0, 64, api_name="/feedback")
    assert seen["RL2F"]["messages"][2] == {"role": "user", "content": "too low"}
    assert secret["RL2F"]["verdicts"][1]["mark"] == "correct"
    refused = other.predict(0, 64, api_name="/teacher")
    assert "press Attempt first" in str(refused)
    endpoints = set(one.view_api(return_format="dict")["named_endpoints"])
    assert endpoints == {"/attempt", "/feedback", "/teacher", "/reset", "/pick_task", "/random_task"}


def test_the_space_serves_an_adapter(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> None:
    """app.py as the Space runs it: nothing but its variables."""
    from gradio_client import Client
    from peft import LoraConfig, get_peft_model

    model = make_model()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    tuned.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "adapter")
    port = _free_port()
    settings = {"PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    settings |= {"GRADIO_SERVER_PORT": str(port), "RL2F_ADAPTER": str(tmp_path / "adapter")}
    server = subprocess.Popen([sys.executable, "app.py"], cwd=SPACE, env={**os.environ, **settings})
    try:
        _wait_for(port, server)
        *_, seen, _ = Client(f"http://127.0.0.1:{port}", verbose=False).predict(
            "What is 2 * 3?", "6", 0, 8, api_name="/attempt"
        )
    finally:
        server.terminate()
        server.wait(20)
    assert list(seen) == ["Base", "RL2F"]
    assert len(seen["RL2F"]["messages"]) == 2


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the Space did not start within a minute")


def test_the_space_says_what_is_missing() -> None:
    settings = {"PYTHONPATH": str(REPO), "RL2F_ADAPTER": ""}
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=SPACE,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("RL2F_ADAPTER is not set")


def test_the_space_card_is_valid() -> None:
    import gradio
    from huggingface_hub import SpaceCard

    data = SpaceCard.load(SPACE / "README.md").data
    assert (data.sdk, data.app_file, data.license) == ("gradio", "app.py", "apache-2.0")
    assert len(data.short_description) <= 60
    pinned = (SPACE / "requirements.txt").read_text().splitlines()
    assert f"gradio=={data.sdk_version}" in pinned
    assert data.sdk_version == gradio.__version__
