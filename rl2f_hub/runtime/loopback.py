"""Servers on this machine are spoken to directly, whatever proxy the environment names.

A proxy cannot reach another machine's loopback and must not see its tokens, and who sets HTTP_PROXY for the internet
rarely thinks of it: the embedded Hub, an endpoint on localhost and the demo's page would be asked for at the proxy.
Clients read the variables when they open a connection or are imported, so they are set before. Left out: addresses of
the local network, which may well lie behind a proxy, and proxies set elsewhere than in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping

HERE = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def direct(environment: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY and no_proxy: what they were in `environment`, and this machine."""
    old = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    known = [name.strip() for name in old.split(",") if name.strip()]
    names = known if "*" in known else [*known, *(name for name in HERE if name not in known)]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(names))


def proxied(environment: Mapping[str, str]) -> bool:
    """Whether any proxy is named."""
    return any(environment.get(name) or environment.get(name.upper()) for name in PROXIES)


def is_here(host: str) -> bool:
    """Whether a Host header, or an address to listen at, names this machine's loopback; a port may follow."""
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower() in HERE or host in HERE
