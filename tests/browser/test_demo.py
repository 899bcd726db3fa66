"""The demo page in a real browser, on a real server with the tiny student that comes with the package.

Chromium is the system's own. The page may speak to its own server only, must log no error, and must show hostile text
as text. Screenshots are left in tests/artifacts/ to be looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
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
WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [document.documentElement.scrollWidth,
  ...[...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 120))]"""
PATIENCE_MS = 180_000  # for whatever the page is waited for to do; a quiet machine needs a second or two
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

    def start(players: list[Any], tasks: tuple[Any, ...] = (), **more: Any) -> str:
        page = build_demo(players, tasks, model_name="tests/tiny <b>student</b>", **more)
        settings = {"server_port": _free_port(), "quiet": True}
        _, address, _ = page.launch(prevent_thread_lock=True, **settings, **launch_settings())
        pages.append(page)
        return address

    yield start
    for page in pages:
        page.close(verbose=False)


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    """A page over the tiny student that comes with the package, with its own evaluation."""
    from rl2f_hub.demo import tiny_folder
    from rl2f_hub.demo.players import tiny_players, warm

    players = tiny_players()
    warm(players)
    return serve(players, results=(tiny_folder(), None))


@pytest.fixture(scope="module")
def scripted(serve: Callable[..., str], saying: Callable[..., Any]) -> str:
    """A page whose players say hostile text; the second one is right at its second attempt."""
    return serve(_scripted(saying), warning="tests/adapter cannot be loaded <b>here</b>.")


def _scripted(saying: Callable[..., Any]) -> list[Any]:
    from rl2f_hub.demo.players import Player

    hostile = Player("Base", "scripted", saying([HOSTILE, HOSTILE, "6"]))
    return [hostile, Player("RL2F", "scripted", saying(["5", "6", "never said"]))]


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
        context.set_default_timeout(PATIENCE_MS)
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


def _settled(page: Any, marks: int, label: str = "rl2f") -> str:
    """The text of the dialogues, once the named player has made that many attempts and nobody is at one."""
    page.wait_for_function(
        "([label, n]) => document.querySelectorAll(`.rl2f-cell.rl2f-of-${label} .rl2f-mark`).length === n"
        " && document.querySelector('#stop').disabled && !document.querySelector('#attempt').disabled",
        arg=[label, marks],
    )
    return page.inner_text("#arena")


def _own_fields(page: Any, prompt: str, reference: str) -> None:
    page.fill("#prompt textarea", prompt)
    page.fill("#reference textarea", reference)


def _own(page: Any, prompt: str, reference: str) -> None:
    _own_fields(page, prompt, reference)
    page.click("#attempt")


def test_a_whole_visit(visitor: Callable[..., Any], address: str) -> None:
    """What the page is for, in one sitting: the tiny student that listens beside the one that does not."""
    page = visitor(address)
    assert page.locator("#send").is_disabled()
    _own_fields(page, "", "")  # the page opens with a task in them
    page.get_by_role("button", name="Equations").click()
    page.wait_for_function("['#prompt', '#reference'].every(id => document.querySelector(`${id} textarea`).value)")
    _own(page, "Solve the following multiplication: 9 * 2 * 5 * 6. Give only the result as your final answer.", "540")
    text = _settled(page, 1)
    assert text.count("✗ wrong") == 2
    page.fill("#feedback textarea", "Wrong: hundreds 6 too high, tens 0 too low, units 0 right.")
    page.click("#send")
    _settled(page, 2)
    assert page.input_value("#feedback textarea") == ""
    assert page.locator(".rl2f-by-you").count() == 1
    page.click("#teacher")
    text = _settled(page, 3)
    assert "hidden from the model" in text
    assert page.locator(".rl2f-of-rl2f .rl2f-attempt mark").count() > 0
    page.click("#itself")
    _settled(page, 4)
    assert page.locator(".rl2f-by-self").count() == 2
    page.click("#mislead")
    _settled(page, 5)
    assert page.locator(".rl2f-by-misleading").count() == 2
    assert "Solved by attempt" in page.inner_text("#chart")
    page.click("text=Inspect:")
    page.get_by_text("What the teacher knew besides").first.wait_for()
    assert "540" in page.inner_text("#inspect")
    assert re.search(r"\d+ tokens in context, \d+ sampled in \d", page.inner_text("#inspect"))


def test_the_same_model_as_teacher(
    visitor: Callable[..., Any], serve: Callable[..., str], saying: Callable[..., Any]
) -> None:
    from rl2f_hub.demo.players import Player

    replies = ["400", "<feedback>Too low: check the tens.</feedback>"]
    student = Player("Student", "says", saying(lambda row, turn: replies[min(row, 1)] if turn == 1 else "408"))
    page = visitor(serve([student]))
    _own(page, "What is 12 * 34?", "408")
    _settled(page, 1, "student")
    page.click("#advanced button")
    page.get_by_label("The same model, told the right answer").check()
    page.click("#teacher")
    assert "Too low: check the tens." in _settled(page, 2, "student")
    page.click("text=Inspect:")
    page.get_by_text("prompt on attempt 1").wait_for()


def test_a_wrong_answer_given_again_is_marked(
    visitor: Callable[..., Any], serve: Callable[..., str], saying: Callable[..., Any]
) -> None:
    from rl2f_hub.demo.players import Player

    page = visitor(serve([Player("Student", "says", saying(lambda row, turn: "400" if turn < 3 else "401"))]))
    _own(page, "What is 12 * 34?", "408")
    said = [_settled(page, 1, "student").count("said before")]
    for turn in (2, 3):
        page.click("#teacher")
        said.append(_settled(page, turn, "student").count("said before"))
    assert said == [0, 1, 1]


def test_two_visitors_reload_and_back(visitor: Callable[..., Any], address: str) -> None:
    first, second = visitor(address), visitor(address)
    _own(first, "Which animal is it?", "zebra")
    _own(second, "Which plant is it?", "fern")
    assert "plant" not in _settled(first, 1)
    before = _settled(second, 1)
    assert "animal" not in before
    first.click("#teacher")
    _settled(first, 2)
    assert second.inner_text("#arena") == before
    first.reload()
    assert "Which animal is it?" in _settled(first, 2)
    assert first.input_value("#reference textarea") == "zebra"
    first.click("#teacher")
    _settled(first, 3)
    first.goto("about:blank")
    first.go_back()
    assert "Which animal is it?" in _settled(first, 3)
    assert _settled(second, 1) == before


def test_hostile_model_text_and_who_is_right(visitor: Callable[..., Any], scripted: str) -> None:
    page = visitor(scripted)
    assert "tests/adapter cannot be loaded <b>here</b>." in page.inner_text("header")
    _own(page, "What is 2 * 3? " + HOSTILE + RTL, "6")
    text = _settled(page, 1)
    assert text.count('<img src=x onerror="window.hacked=1"> ![a](http://evil.invalid/a.png)') == 2
    assert "[b](javascript:window.hacked=1) $$x^2$$ **bold** <|end|><|user|>" in text
    assert "\u202e" not in text
    page.fill("#feedback textarea", HOSTILE)
    page.press("#feedback textarea", "Enter")
    text = _settled(page, 2)
    assert "said before" in text
    assert "✓ correct: 6" in text
    page.fill("#feedback textarea", "too low")
    page.click("#send")
    text = _settled(page, 3, "base")
    assert "never said" not in text
    assert "Solved: Base at attempt 3, RL2F at attempt 2." in page.inner_text("#notice")
    assert page.locator("#send").is_disabled()
    page.click("#mislead")
    assert "gave in" in _settled(page, 3)
    assert page.locator("#arena").locator("img, script, a, h1, strong").count() == 0
    assert page.evaluate("window.hacked") is None


def test_what_is_refused_is_said_and_changes_nothing(visitor: Callable[..., Any], address: str) -> None:
    page = visitor(address)
    for prompt, why in (("x" * 100_000, "100,000 characters; up to 4,000 fit"), ("  ", "There is no task yet")):
        _own(page, prompt, "")
        page.get_by_text(why).first.wait_for()
    _own(page, "Why?\x00\x07", "")
    assert "? unknown" in _settled(page, 1)
    assert page.locator("#teacher").is_disabled()
    page.click("#send")
    page.get_by_text("There is no feedback yet").first.wait_for()
    _settled(page, 1)


def test_a_batch_and_the_results(visitor: Callable[..., Any], address: str) -> None:
    page = visitor(address)
    page.get_by_role("tab", name="Batch of ten").click()
    page.click("#batch-go")
    page.get_by_text("All 10 tasks are played.").wait_for()
    assert page.locator("#batch tbody tr").count() == 10
    assert page.locator("#batch svg .rl2f-of-rl2f circle").count() == 6
    page.get_by_role("tab", name="Results").click()
    page.get_by_text("In distribution, with the teacher").wait_for()
    assert page.locator("#tour svg").count() == 4


def test_stop(
    visitor: Callable[..., Any],
    serve: Callable[..., str],
    saying: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rl2f_hub.demo.players import Player
    from rl2f_hub.demo.visits import Stops

    gate, stopped = threading.Event(), threading.Event()
    stop = Stops.stop
    monkeypatch.setattr(Stops, "stop", lambda self, who: (stop(self, who), stopped.set())[0])

    def slow(row: int, turn: int) -> str:
        gate.wait(PATIENCE_MS / 1000)
        return "5 6 7"

    page = visitor(serve([Player("Base", "slow", saying(slow)), Player("RL2F", "slow", saying(slow))]))
    page.click("#attempt")
    page.wait_for_function("!document.querySelector('#stop').disabled")
    assert "thinking" in page.inner_text("#notice")
    page.click("#stop")
    assert stopped.wait(PATIENCE_MS / 1000), "the server was not told"
    gate.set()  # not before: the attempts would end by themselves
    page.get_by_text("Stopped.").wait_for()
    assert page.locator(".rl2f-cell .rl2f-mark").count() == 0
    page.click("#attempt")
    _settled(page, 1)


def test_a_dialogue_is_saved_and_given(
    visitor: Callable[..., Any], serve: Callable[..., str], saying: Callable[..., Any], tmp_path: Path
) -> None:
    page = visitor(serve(_scripted(saying), feedback_dataset="me/feedback"), accept_downloads=True)
    page.click("#attempt")
    _settled(page, 1)
    page.click("text=Keep this dialogue")
    for button, count in (("#export-json", 1), ("#export-rows", 2)):
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / "file")
        text = (tmp_path / "file").read_text()
        assert len([json.loads(text)] if count == 1 else [json.loads(line) for line in text.splitlines()]) == count
    page.click("#contribute")
    page.get_by_text("Nothing was sent: tick the box").wait_for()
    page.get_by_role("checkbox").check()
    page.click("#contribute")
    page.get_by_text("Thank you.").wait_for()
    assert len(page.input_value("#receipt textarea, #receipt input")) == 32
    assert not page.get_by_role("checkbox").is_checked()
    page.click("#withdraw")
    page.get_by_text("That contribution is deleted.").wait_for()


def test_by_keyboard_alone(visitor: Callable[..., Any], scripted: str) -> None:
    page = visitor(scripted)
    page.focus("#prompt textarea")

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('[id]')?.id || ''") == name:
                return
        pytest.fail(f"#{name} is not reached with the Tab key")

    tab_to("attempt")
    page.keyboard.press("Enter")
    _settled(page, 1)
    page.focus("#feedback textarea")
    page.keyboard.type("too low")
    tab_to("send")
    page.keyboard.press("Space")
    _settled(page, 2)


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("wide", 1440, "light"), ("phone", 375, "light"), ("dark", 1440, "dark")]
)
def test_how_it_looks(visitor: Callable[..., Any], address: str, name: str, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visitor(address, width, color_scheme=scheme)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"demo-{name}-first.png")
    assert page.locator("#attempt").bounding_box()["y"] < 760  # what to do is on the first screen
    page.click("#attempt")
    _settled(page, 1)
    for attempts in (2, 3):
        page.click("#teacher")
        _settled(page, attempts, "base")
    page.click("text=Inspect:")
    page.click("text=Keep this dialogue")
    page.mouse.move(0, 0)
    _still(page)
    page.screenshot(path=ARTIFACTS / f"demo-{name}.png", full_page=True)
    found = list(Axe().run(page).response["violations"])
    assert page.evaluate(WIDER) == []
    fonts = page.evaluate("getComputedStyle(document.querySelector('#attempt')).fontFamily")
    assert "system-ui" in fonts
    light = _lightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (light < 100) == (scheme == "dark")
    page.get_by_role("tab", name="Batch of ten").click()
    page.click("#batch-go")
    page.get_by_text("All 10 tasks are played.").wait_for()
    _still(page)
    page.screenshot(path=ARTIFACTS / f"demo-{name}-batch.png", full_page=True)
    assert page.evaluate(WIDER) == []
    found += Axe().run(page).response["violations"]
    page.get_by_role("tab", name="Results").click()
    page.get_by_text("In distribution, with the teacher").wait_for()
    _still(page)
    page.screenshot(path=ARTIFACTS / f"demo-{name}-results.png", full_page=True)
    assert page.evaluate(WIDER) == []
    found += Axe().run(page).response["violations"]
    assert [_short(v) for v in found if v["impact"] in ("serious", "critical")] == []


def _still(page: Any) -> None:
    """Waits for what moves or fades to have ended: colours on the way are nobody's choice, and axe would judge them."""
    page.wait_for_function(
        "() => document.getAnimations().every(a => a.playState !== 'running' || !isFinite(a.effect.getComputedTiming().endTime))"
    )


def _short(violation: dict[str, Any]) -> str:
    return f"{violation['id']}: {[(n['html'][:160], n['failureSummary'][:200]) for n in violation['nodes'][:3]]}"


def _lightness(colour: str) -> float:
    return sum(float(n) for n in re.findall(r"[\d.]+", colour)[:3]) / 3


def test_named_endpoints_play_an_episode(scripted: str) -> None:
    """gradio_client can drive a dialogue, and a dialogue is reached by its key alone."""
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(scripted, verbose=False)
    first = client.predict("What is 2 * 3?", "6", 0, 64, api_name="/attempt")
    other = client.predict("What is 2 * 4?", "8", api_name="/attempt")
    assert first["players"]["RL2F"]["teacher_knew"]["reference"] == "6"
    again = client.predict(first["dialogue"], "too low", api_name="/feedback")
    turns = again["players"]["RL2F"]["turns"]
    assert [t["mark"] for t in turns] == ["wrong", "correct"]
    assert turns[0]["feedback"] == {"from": "You", "text": "too low"}
    assert turns[0]["tokens"] > 0
    last = client.predict(first["dialogue"], api_name="/teacher")
    assert last["over"]
    doubted = client.predict(first["dialogue"], api_name="/mislead")
    assert doubted["players"]["RL2F"]["turns"][-1]["note"] == "gave in"
    itself = client.predict(other["dialogue"], api_name="/correct_itself")
    assert itself["players"]["Base"]["turns"][0]["feedback"]["from"] == "Its own critique"
    kept = client.predict(first["dialogue"], api_name="/export")
    assert len(kept["rows"]) == 2
    ten = client.predict("Sums", api_name="/batch")
    assert len(ten["solved_at"]["Base"]) == 10
    assert {t["kind"] for t in client.predict(api_name="/tasks")} >= {"Sums", "Equations"}
    for call in (("nothing", "x", "/feedback"), ("", "", "/attempt"), (first["dialogue"], True, "/contribute")):
        with pytest.raises(AppError, match=r"not known here|no task yet|takes no contributions"):
            client.predict(*call[:-1], api_name=call[-1])
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    names = {"attempt", "feedback", "teacher", "correct_itself", "mislead", "batch", "export", "tasks", "results"}
    assert set(endpoints) == {f"/{n}" for n in names | {"contribute", "take_back"}}


def test_nothing_of_the_file_system_is_served(scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    secret = tmp_path / "secret.txt"
    secret.write_text("hf_secret_of_the_server")
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_server")
    targets = [str(secret), "/etc/passwd", "/proc/self/environ", str(REPO / "pyproject.toml"), "../../../etc/passwd"]
    with httpx.Client(base_url=scripted, timeout=120) as http:
        for target in targets:
            for route in (
                "file=",
                "file/",
                "gradio_api/file=",
                "gradio_api/stream/",
                "proxy=",
                "custom_component/",
                "static/",
            ):
                for form in (target, target.lstrip("/"), "%2e%2e/" * 6 + target.lstrip("/")):
                    answer = http.get(f"/{route}{form}")
                    assert answer.status_code >= 400 or "hf_secret" not in answer.text
                    assert "root:x:" not in answer.text and "[build-system]" not in answer.text
        big = http.post("/gradio_api/upload", files={"files": ("a.html", b"<script>" + b"x" * 5_000)})
        assert big.status_code >= 400
        for name in ("a.html", "a.svg", "a.xhtml", "a.js", "a.pdf", "a.png", "a.txt"):
            path = http.post("/gradio_api/upload", files={"files": (name, b"<script>1</script>")}).json()[0]
            how = http.get(f"/gradio_api/file={path}").headers["content-disposition"].partition(";")[0]
            assert how == ("inline" if name in ("a.png", "a.txt") else "attachment"), name
        for page in ("/", "/config", "/gradio_api/info"):
            assert "hf_secret" not in http.get(page).text


def test_the_queue_is_bounded_and_says_so(serve: Callable[..., str], saying: Callable[..., Any]) -> None:
    """More than the queue holds: those who wait get their own answer, the others a message; nothing is mixed up."""
    from gradio_client import Client

    from rl2f_hub.demo.players import Player

    gate = threading.Event()

    def slow(row: int, turn: int) -> str:
        gate.wait(2 * PATIENCE_MS / 1000)
        return "5"

    client = Client(serve([Player("Student", "slow", saying(slow))], queued=4), verbose=False)
    jobs = [client.submit(f"Task number {i}?", "5", api_name="/attempt") for i in range(20)]
    until = time.monotonic() + PATIENCE_MS / 1000
    while not any(job.done() for job in jobs) and time.monotonic() < until:  # one who is refused: the queue is full
        time.sleep(0.1)
    gate.set()
    answers, refused = [], set()
    for i, job in enumerate(jobs):
        try:
            answers.append((i, job.result(timeout=PATIENCE_MS / 1000)["task"]))
        except Exception as error:
            refused.add(str(error))
    assert all(task == f"Task number {i}?" for i, task in answers)
    assert 1 <= len(answers) < 20
    assert all("Queue is full" in text for text in refused), refused


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
        seen = Client(f"http://127.0.0.1:{port}", verbose=False).predict(
            "What is 2 * 3?", "6", 0, 8, api_name="/attempt"
        )
    finally:
        server.terminate()
        server.wait(60)
    assert list(seen["players"]) == ["Base", "RL2F"]
    assert len(seen["players"]["RL2F"]["saw"]) == 2


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 400  # it imports torch and gradio, perhaps from a cold disk
    while time.monotonic() < until:
        assert server.poll() is None
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the Space did not start")


def test_the_space_falls_back_to_the_tiny_student_and_says_so(visitor: Callable[..., Any], tmp_path: Path) -> None:
    """Its adapter is not to be had (the Hub hangs up): it is asked once, the page names the trouble and can be played with."""
    port = _free_port()
    hub = socket.create_server(("127.0.0.1", 0))
    asked: list[int] = []
    threading.Thread(target=_hang_up, args=(hub, asked), daemon=True).start()
    settings = {"PYTHONPATH": str(REPO), "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    settings |= {"RL2F_ADAPTER": "me/gone", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    settings |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"}
    server = subprocess.Popen([sys.executable, "app.py"], cwd=SPACE, env={**os.environ, **settings})
    try:
        _wait_for(port, server)
        page = visitor(f"http://127.0.0.1:{port}")
        assert "me/gone" in page.inner_text("[role=alert]")
        assert "Hub could not be reached" in page.inner_text("[role=alert]")
        assert len(asked) == 1
        assert "tiny student" in page.inner_text("[role=alert]")
        page.click("#attempt")
        _settled(page, 1)
        page.close()
    finally:
        server.terminate()
        server.wait(60)
        hub.close()


def _hang_up(hub: socket.socket, asked: list[int]) -> None:
    """A Hub that closes every connection; counts them."""
    while True:
        try:
            connection, _ = hub.accept()
        except OSError:
            return
        asked.append(1)
        connection.close()
