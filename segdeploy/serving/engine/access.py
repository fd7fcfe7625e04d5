"""Who may use the server: API keys, and pages of other sites."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from segdeploy.errors import ConfigError, RequestError

COOKIE = "segdeploy_key"
"""Cookie that holds the key of a browser in which the page was opened."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

SHORTEST_KEY = 16


class Access:
    """Keys, and the names under which the server is asked.

    Without keys everybody may use it. A page of another site can still send requests to it through
    a visitor's browser, so what a browser says about the origin of a request is always checked.
    """

    def __init__(
        self, keys: Iterable[str] = (), *, host: str = "127.0.0.1", names: Iterable[str] = ()
    ) -> None:
        """Keep only digests of the keys.

        Args:
            keys: Keys that clients may use; none where everybody may.
            host: Address that the server listens on.
            names: Further names under which a server of this machine alone may be asked, such as
                that of a proxy before it.
        """
        self._digests = [_digest(key) for key in keys]
        self.is_local = host in LOOPBACK
        self._names = LOOPBACK | {name.lower() for name in names}

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return not self._digests

    def allows(self, key: str) -> bool:
        """Return whether a key is one of the server's, in a time that tells nothing about them."""
        digest = _digest(key)
        # All are compared, so that the time does not tell which one it is.
        return sum(hmac.compare_digest(digest, own) for own in self._digests) > 0

    def check(self, headers: Mapping[str, str], *, is_public: bool) -> None:
        """Refuse a request that comes from another site's page, or has no key.

        Args:
            headers: Headers of the request, their names in lower case.
            is_public: Whether the route needs no key.

        Raises:
            RequestError: It may not be answered.
        """
        host = headers.get("host", "")
        if self.is_local and _host_name(host) not in self._names:
            msg = (
                f"this server is for this machine only, not for {host[:128]!r}; ask localhost, or"
                " start it with --allow-host"
            )
            raise RequestError(msg, status=403)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            msg = f"pages of {origin[:128]!r} may not use this server; open its own page"
            raise RequestError(msg, status=403)
        self.check_key(headers, is_public=is_public)

    def check_key(self, headers: Mapping[str, str], *, is_public: bool) -> None:
        """Refuse a request that has no key, where one is needed.

        Args:
            headers: Headers of the request, or metadata of the call, their names in lower case.
            is_public: Whether no key is needed.

        Raises:
            RequestError: It may not be answered.
        """
        if is_public or self.is_open or any(self.allows(key) for key in _keys_of(headers)):
            return
        msg = "a key is missing or wrong; send 'Authorization: Bearer KEY', or 'X-API-Key: KEY'"
        raise RequestError(msg, status=401)


def _keys_of(headers: Mapping[str, str]) -> Sequence[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        cookies.clear()
    given = [
        token.strip() if scheme.lower() == "bearer" else "",
        headers.get("x-api-key", ""),
        cookies[COOKIE].value if COOKIE in cookies else "",
    ]
    return [key for key in given if key]


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path) -> list[str]:
    """Return the keys in a file: one a line; empty lines and lines that begin with # are comments.

    Raises:
        ConfigError: The file cannot be read, holds no key, or one that is easily guessed.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the API keys in {path} cannot be read ({error}); write one key a line"
        raise ConfigError(msg) from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        msg = f"{path} holds no API key; write one a line, for example from: openssl rand -hex 32"
        raise ConfigError(msg)
    short = [number for number, key in enumerate(keys, 1) if len(key) < SHORTEST_KEY]
    if short:
        msg = (
            f"key {short[0]} in {path} has fewer than {SHORTEST_KEY} characters; take a longer one,"
            " for example from: openssl rand -hex 32"
        )
        raise ConfigError(msg)
    return keys
