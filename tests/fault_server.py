"""A chat server for tests that does everything wrong: each request is answered as the test says."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

Behaviour = Callable[[dict[str, Any]], "tuple[int, dict[str, str], bytes] | None"]  # None: hang up


def completion(text: Any, finish: str = "stop", usage: Any = (100, 10)) -> Behaviour:
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)} if usage else None
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counted}
    return lambda request: (200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def status(code: int, **headers: str) -> Behaviour:
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    return lambda request: (code, sent, b'{"error": "as told"}')


def body(text: bytes, kind: str = "text/html") -> Behaviour:
    return lambda request: (200, {"Content-Type": kind}, text)


def slow(seconds: float, then: Behaviour) -> Behaviour:
    def wait(request: dict[str, Any]) -> Any:
        time.sleep(seconds)
        return then(request)

    return wait


NEVER = slow(600.0, lambda request: None)  # longer than any client here waits; its thread ends with the tests


class FaultServer:
    """Answers each request with the next of its behaviours, the last one for ever; `by` chooses by request instead.

    The first answers wait until so many requests as `together` says are there at once (or a minute has passed).
    """

    def __init__(self, usual: Behaviour) -> None:
        self.behaviours: list[Behaviour] = [usual]
        self.by: Callable[[dict[str, Any]], Behaviour] | None = None
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.busy = self.most = 0
        self.together = 1
        lock = threading.Lock()
        arrived = threading.Condition(lock)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append(request)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
                    outer.times.append(time.monotonic())
                    outer.busy += 1
                    outer.most = max(outer.most, outer.busy)
                    left = outer.behaviours
                    chosen = outer.by(request) if outer.by else (left.pop(0) if len(left) > 1 else left[0])
                    arrived.notify_all()
                    arrived.wait_for(lambda: outer.most >= outer.together, timeout=60)
                try:
                    answer = chosen(request)
                    if answer is None:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        return
                    code, headers, content = answer
                    self.send_response(code)
                    drip = float(headers.pop("Drip", 0))
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if drip:
                        for i in range(len(content)):
                            self.wfile.write(content[i : i + 1])
                            time.sleep(drip)
                    else:
                        self.wfile.write(content)
                except OSError:
                    pass  # the client has gone
                finally:
                    with lock:
                        outer.busy -= 1

            def log_message(self, *args: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
