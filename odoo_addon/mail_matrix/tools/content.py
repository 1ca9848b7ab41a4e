"""The content of a Matrix event, safe for PostgreSQL's jsonb and for the homeserver."""

import json
import re
from urllib.parse import quote

from markupsafe import Markup, escape

# A whole event may take 65,536 bytes on the homeserver, signatures and envelope
# included.
MAX_CONTENT_BYTES = 60 * 1024
MAX_ID_BYTES = 255
MARKER = "org.odoo.outbox"
ELLIPSIS = "…"

# jsonb refuses NUL (22P05) and half a surrogate pair (22P02).
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text):
    """Return ``text`` without the characters that PostgreSQL's jsonb refuses.

    Surrogate pairs that some clients send instead of one character are joined first.
    """
    text = text or ""
    if _UNSTORABLE.search(text):
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
        text = _UNSTORABLE.sub("", joined)
    return text


def size(content):
    """Return the bytes that ``content`` takes as canonical JSON."""
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def to_html(text, links=None, below=None):
    """Return ``text`` as HTML of Matrix: everything escaped, line ends kept.

    ``links`` maps words to addresses; the first occurrence of each becomes a link.
    ``below`` is a pair of words and address that gets a line of its own, unless a word
    of ``links`` leads there already.
    """
    links = {words: url for words, url in (links or {}).items() if words}
    html, reached = Markup(), set()
    pattern = "|".join(map(re.escape, sorted(links, key=len, reverse=True)))
    for index, piece in enumerate(re.split(f"({pattern})", text) if links else [text]):
        if index % 2 and piece not in reached:
            reached.add(piece)
            html += _link(piece, links[piece])
        else:
            html += escape(piece)
    if below and below[1] not in {links[words] for words in reached}:
        html += Markup("<br/>") + _link(*below)
    return str(html.replace("\n", Markup("<br/>")))


def _link(words, url):
    return Markup('<a href="%s">%s</a>') % (url, words)


def matrix_to(identifier):
    """Return the address by which every Matrix client opens a person or a room."""
    return f"https://matrix.to/#/{quote(identifier, safe='@!#:')}"


def message(body, txn_id, message_type="m.text", links=None, below=None, mentions=()):
    """Return the content of an ``m.room.message`` that says ``body``.

    ``links`` and ``below`` are those of to_html. ``mentions`` are Matrix user ids; they
    are always stated, because clients guess from names in the text where they are not.
    """
    body = clean(body)
    links = {clean(words): url for words, url in (links or {}).items()}
    return {
        "msgtype": message_type,
        "body": body,
        "format": "org.matrix.custom.html",
        "formatted_body": to_html(body, links, below and (clean(below[0]), below[1])),
        "m.mentions": {"user_ids": sorted(mentions)} if mentions else {},
        MARKER: txn_id,
    }


def fits(content):
    """Whether an event can hold ``content``."""
    return size(content) <= MAX_CONTENT_BYTES


def without_html(content):
    """Return ``content`` with its plain text only."""
    return {
        key: value
        for key, value in content.items()
        if key not in ("format", "formatted_body")
    }


def cut(content):
    """Return ``content``, shortened where it exceeds what an event may hold.

    The HTML goes first, then the end of the text.
    """
    if fits(content):
        return content
    content = without_html(content)
    while not fits(content):
        excess = size(content) - MAX_CONTENT_BYTES
        body = content["body"].removesuffix(ELLIPSIS)
        # A character takes 6 bytes at most in JSON: this never cuts too much.
        content["body"] = body[: -max(1, excess // 6 + 1)] + ELLIPSIS
    return content


def is_room_id(value):
    """Whether ``value`` can name a room. Newer ids have no server part."""
    return len(value) > 1 and value[0] == "!" and _is_id(value)


def is_room_alias(value):
    return value.startswith("#") and ":" in value[2:] and _is_id(value)


def is_user_id(value):
    return value.startswith("@") and ":" in value[2:] and _is_id(value)


def _is_id(value):
    return len(value.encode("utf-8", "replace")) <= MAX_ID_BYTES and not re.search(
        r"[\s\x00-\x1f\ud800-\udfff]", value
    )
