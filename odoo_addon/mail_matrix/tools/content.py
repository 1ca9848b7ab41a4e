"""The content of a Matrix event, safe for PostgreSQL's jsonb and for the homeserver."""

import json
import re
from collections import Counter, defaultdict
from urllib.parse import quote

from markupsafe import Markup, escape

# A whole event may take 65,536 bytes on the homeserver, signatures and envelope
# included.
MAX_CONTENT_BYTES = 60 * 1024
MAX_ID_BYTES = 255
MARKER = "org.odoo.outbox"
# Says that the message may stand readable in an encrypted room. The worker looks for
# it.
UNENCRYPTED = "org.odoo.unencrypted"
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


def to_html(text, links=(), below=None):
    """Return ``text`` as HTML of Matrix: everything escaped, line ends kept.

    ``links`` are pairs of words and address. The first place where the words stand
    whole becomes a link; the second one, if two pairs have the same words, and so on.
    ``below`` is such a pair that gets a line of its own, unless a word of ``links``
    leads there already.
    """
    addresses = defaultdict(list)
    for words, url in links:
        addresses[words].append(url)
    html, reached = Markup(), set()
    for index, piece in enumerate(_split(text, addresses)):
        if index % 2 and addresses[piece]:
            url = addresses[piece].pop(0)
            reached.add(url)
            html += _link(piece, url)
        else:
            html += escape(piece)
    if below and below[1] not in reached:
        html += Markup("<br/>") + _link(*below)
    return str(html.replace("\n", Markup("<br/>")))


def unnamed(text, names):
    """Return those of ``names`` that ``text`` does not name, each as often as it
    stands there too seldom."""
    left = Counter(_split(clean(text), map(clean, names))[1::2])
    missing = []
    for name in names:
        if left[clean(name)]:
            left[clean(name)] -= 1
        else:
            missing.append(name)
    return missing


def _split(text, words):
    """Return ``text`` in pieces, of which each second one is one of ``words``.

    Whole words only: Ann is not named in "Announcement".
    """
    words = sorted(filter(None, words), key=len, reverse=True)
    if not words:
        return [text]
    return re.split(rf"(?<!\w)({'|'.join(map(re.escape, words))})(?!\w)", text)


def _link(words, url):
    return Markup('<a href="%s">%s</a>') % (url, words)


def matrix_to(identifier):
    """Return the address by which every Matrix client opens a person or a room."""
    return f"https://matrix.to/#/{quote(identifier, safe='@!#:')}"


def message(body, txn_id, message_type="m.text", links=None, below=None, mentions=()):
    """Return the content of an ``m.room.message`` that says ``body``.

    ``links`` maps words to addresses, ``below`` is that of to_html. ``mentions`` are
    pairs of name and Matrix user id, of people who may have the same name; who is
    mentioned is always stated, because clients guess from names in the text where it is
    not.
    """
    body = clean(body)
    links = [(clean(words), url) for words, url in (links or {}).items()]
    links += [(clean(name), matrix_to(user)) for name, user in mentions]
    people = sorted({user for _name, user in mentions})
    return {
        "msgtype": message_type,
        "body": body,
        "format": "org.matrix.custom.html",
        "formatted_body": to_html(body, links, below and (clean(below[0]), below[1])),
        "m.mentions": {"user_ids": people} if people else {},
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
