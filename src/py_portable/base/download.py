"""One file over http or https: bounded in size and time, with the machine's proxies, CA bundle and logins."""

from __future__ import annotations

import base64
import http.client
import netrc
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from py_portable.base.redact import hide
from py_portable.base.servers import Failed, Route, TimeLimits

_CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CHUNK = 1 << 18


def download(url: str, route: Route, target: Path, max_bytes: int, limits: TimeLimits) -> None:
    """Write what the address gives to `target`, which does not exist. Raises Failed."""
    end = time.monotonic() + limits.total
    try:
        request = _request(url)
        if not route.proxy:
            _resolvable(url, limits.idle)
        opener = _opener(url, route)
        with opener.open(request, timeout=limits.idle) as answer, target.open("xb") as stream:
            _copy(answer, stream.write, max_bytes, end)
    except urllib.error.HTTPError as problem:
        if "infinite loop" in str(problem.reason or problem):
            raise Failed("it redirects in a circle") from None
        if 300 <= problem.code < 400:
            raise Failed("it redirects to an address of a kind that is not allowed") from None
        raise Failed(
            f"the server answers {problem.code} {problem.reason}",
            passing=problem.code == 429 or problem.code >= 500,
        ) from None
    except urllib.error.URLError as problem:
        raise Failed(_reason(problem.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as problem:
        passing = isinstance(problem, (ConnectionResetError, http.client.HTTPException))
        raise Failed(_reason(problem), passing=passing) from None


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https address")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(
        bare, headers={"User-Agent": "py-portable", "Accept-Encoding": "identity"}
    )
    login = (
        (unquote(parts.username), unquote(parts.password or "")) if parts.username else _netrc(parts.hostname)
    )
    if login:
        word = base64.b64encode(f"{login[0]}:{login[1]}".encode()).decode()
        # Unredirected: the login is for this host only, not for where it may send us.
        request.add_unredirected_header("Authorization", f"Basic {word}")
    return request


def _netrc(host: str) -> tuple[str, str] | None:
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None


def _opener(url: str, route: Route) -> urllib.request.OpenerDirector:
    bundles = (*(os.environ.get(name, "") for name in _CA_VARIABLES), route.ca_bundle or "")
    parts = urlsplit(url)
    context = _context(bundles, route.verifies(parts.hostname, parts.port))
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if route.proxy:
        handlers.append(urllib.request.ProxyHandler({"http": route.proxy, "https": route.proxy}))
    return urllib.request.build_opener(*handlers)


@lru_cache(maxsize=4)
def _context(bundles: tuple[str, ...], verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for bundle in bundles:
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return context


def _resolvable(url: str, seconds: float) -> None:
    """Give up on a name that nobody resolves: the resolver's own limits are far longer."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    problems: list[OSError] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError as problem:
            problems.append(problem)

    worker = threading.Thread(target=look, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        raise Failed(f"the name {host} was not resolved within {seconds:.0f} s")
    if problems:
        raise Failed(f"the name {host} cannot be resolved: {problems[0].strerror}")


def _copy(
    answer: http.client.HTTPResponse, write: Callable[[bytes], object], max_bytes: int, end: float
) -> None:
    length = answer.headers.get("Content-Length")
    promised = int(length) if length and length.isdigit() else None
    if promised is not None and promised > max_bytes:
        raise Failed(f"it has {promised} bytes, more than the {max_bytes} that are allowed")
    total = 0
    while chunk := answer.read1(_CHUNK):
        total += len(chunk)
        if total > max_bytes:
            raise Failed(f"it has more than the {max_bytes} bytes that are allowed")
        if time.monotonic() > end:
            raise Failed("it took too long")
        write(chunk)
    if promised is not None and total != promised:
        raise Failed(f"the connection ended after {total} of {promised} bytes", passing=True)


def _reason(problem: object) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here: {problem.verify_message}"
    if isinstance(problem, http.client.IncompleteRead):
        return f"the connection ended after {len(problem.partial)} bytes of a part"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return hide(str(problem)) or type(problem).__name__
