"""Where links of a chatter message may lead, and which ones grant access and must be
removed."""

import re
from urllib.parse import unquote, urljoin, urlsplit

MAX_URL = 2_000
ELLIPSIS = "…"

UNSTORABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
    # Zero-width blanks, and the marks that change the direction of the text after them.
    "|[\u200b\u2060\ufeff\u202d\u202e]"
)

_SCHEMES = {"http", "https", "ftp", "mailto", "magnet"}
_BLANKS = re.compile("[ \t\r\n\f]+")
_SECRET = re.compile(r"access_?token\s*=|[?&;#]hash\s*=", re.IGNORECASE)
_OWN_SECRET = re.compile(r"token\s*=", re.IGNORECASE)


def address(href, base_url):
    """Return the absolute address of a link, or None if it is not allowed.

    :param str base_url: where relative links lead; empty drops them
    """
    href = _BLANKS.sub("", UNSTORABLE.sub("", href or ""))
    if not href or len(href) > MAX_URL or href.startswith("#"):
        return None
    try:
        url = urljoin(base_url, href)
        parts = urlsplit(url)
        own_host = urlsplit(base_url).netloc
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or "@" in parts.netloc or len(url) > MAX_URL:
        return None
    if parts.scheme in ("http", "https", "ftp") and not parts.netloc:
        return None
    plain = unquote(unquote(url))
    if _SECRET.search(plain):
        return None
    # Another site's token may be what the author wants to share.
    return None if parts.netloc == own_host and _OWN_SECRET.search(plain) else url


def without_secrets(text):
    """Return ``text`` without the addresses that grant access to anybody with them."""
    may_have = "=" in text or "%" in text
    if not may_have or not _SECRET.search(unquote(text)):
        return text
    return "".join(
        ELLIPSIS if _SECRET.search(unquote(unquote(piece))) else piece
        for piece in re.split(r"(\s+)", text)
    )
