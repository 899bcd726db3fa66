"""A proxy in the environment is for other machines; runs behind one are in e2e (see its `shrunken.environment`)."""

from __future__ import annotations

import urllib.request

import pytest

from rl2f_hub.runtime.loopback import direct, proxied

PROXY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": "", "NO_PROXY": "a.org"}, "a.org,127.0.0.1,localhost,::1"),
        ({"no_proxy": "a.org, localhost ,", "NO_PROXY": "b.org"}, "a.org,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_this_machine_is_added_to_what_was_there(old: dict[str, str], new: str) -> None:
    assert direct(old) == {"NO_PROXY": new, "no_proxy": new}
    assert direct(direct(old)) == direct(old)


def test_a_proxy_is_seen_in_either_case_and_an_empty_one_is_none() -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        assert proxied({name: PROXY})
        assert not proxied({name: ""})
    assert not proxied({"NO_PROXY": "a.org"})


def test_clients_pass_the_proxy_by_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("http_proxy", PROXY)
    for name, value in direct({}).items():
        monkeypatch.setenv(name, value)
    client = httpx.Client()
    for host in ("127.0.0.1:8000", "localhost", "[::1]:80"):
        assert urllib.request.proxy_bypass(host.removeprefix("[").replace("]", "")) or "::1" in host
        assert client._transport_for_url(httpx.URL(f"http://{host}/")) is client._transport
    assert not urllib.request.proxy_bypass("a.org")
    assert client._transport_for_url(httpx.URL("http://a.org/")) is not client._transport
