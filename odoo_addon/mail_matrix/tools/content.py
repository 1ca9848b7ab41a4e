"""The content of a Matrix event, safe for PostgreSQL's jsonb and for the homeserver."""

import json
import re
from collections import Counter, defaultdict
from itertools import islice
from urllib.parse import quote

from markupsafe import Markup, escape

# A whole event may take 65,536 bytes on the homeserver, signatures and envelope
# included.
MAX_CONTENT_BYTES = 60 * 1024
MAX_ID_BYTES = 255
MARKER = "org.odoo.outbox"
# Says that the message may go to an encrypted room unencrypted. The worker checks it.
UNENCRYPTED = "org.odoo.unencrypted"
# Lists the kinds of event that begin the thread of the record. The worker finds the
# event that one of them became.
THREAD = "org.odoo.thread"
ELLIPSIS = "…"

# The state of a room that is encrypted from the start.
ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}

# jsonb refuses NUL (22P05) and half a surrogate pair (22P02).
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Blanks that HTML would leave out: those that begin a line or follow another one.
_LOST_BLANK = re.compile("(?m)^ |(?<= ) ")
_TYPED_USER_ID = re.compile(
    r"(?<![\w@/])@[\w.=/+-]{1,200}:[\w.-]*\w(?::\d{1,5})?", re.A
)
# After these, the next words begin on a new line.
_BLOCK_END = re.compile("</(?:p|div|ul|ol|table|blockquote|pre|h[1-6])>$")

# Hostile texts repeat a name endlessly; real mentions are found within this limit.
_MAX_FILE_NAME = 255
_MAX_FOUND = 1000
_MAX_MENTIONS = 50


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


def one_line_end(text):
    """Return ``text`` with its lines ended by ``\\n`` alone."""
    return _LINE_END.sub("\n", text)


def to_html(text, links=(), below=None):
    """Return ``text`` as HTML of Matrix: everything escaped, lines and blanks kept.

    ``links`` are pairs of words and address. The first place where the words occur as
    whole words becomes a link; if two pairs have the same words, the second place too,
    and so on. ``below`` is such a pair that gets a separate line, unless one of
    ``links`` has its address already.
    """
    text = text.expandtabs(8)
    addresses = defaultdict(list)
    for words, url in links:
        addresses[words.expandtabs(8)].append(url)
    # One character for another, so that places in both texts are the same.
    shown = _LOST_BLANK.sub("\N{NO-BREAK SPACE}", text)
    pieces, end, reached = [], 0, set()
    for start, words in _places(text, {w: len(urls) for w, urls in addresses.items()}):
        if addresses[words]:
            url = addresses[words].pop(0)
            reached.add(url)
            stop = start + len(words)
            pieces += [escape(shown[end:start]), _link(shown[start:stop], url)]
            end = stop
    pieces.append(escape(shown[end:]))
    if below and below[1] not in reached:
        pieces += ["\n", _link(*below)]
    return "".join(pieces).replace("\n", "<br/>")


def unnamed(text, names):
    """Return those of ``names`` that are missing in ``text``, each as many times as it
    is missing."""
    wanted = Counter(map(clean, names))
    left = Counter(words for _start, words in _places(clean(text), wanted))
    missing = []
    for name in names:
        if left[clean(name)]:
            left[clean(name)] -= 1
        else:
            missing.append(name)
    return missing


def typed_mentions(text):
    """Return the Matrix user IDs in ``text``, as pairs for ``mentions``."""
    found = (match[0] for match in _TYPED_USER_ID.finditer(text))
    users = islice(dict.fromkeys(filter(is_user_id, found)), _MAX_MENTIONS)
    return [(user, user) for user in users]


def _places(text, wanted):
    """Yield (place, words) for each of the words ``wanted`` in ``text``.

    From left to right, the longest words if several begin at one place, until each was
    found as often as ``wanted`` says. Whole words only: not Ann in "Announcement".
    """
    left = {words: count for words, count in wanted.items() if words}
    next_places = {words: _find(text, words, 0) for words in left}
    for _step in range(_MAX_FOUND):
        next_places = {w: at for w, at in next_places.items() if at is not None}
        if not any(left[words] > 0 for words in next_places):
            return
        start, words = min(
            ((at, words) for words, at in next_places.items()),
            key=lambda found: (found[0], -len(found[1])),
        )
        left[words] -= 1
        yield start, words
        end = start + len(words)
        for other, at in next_places.items():
            if at < end:
                next_places[other] = _find(text, other, end)


def _find(text, words, start):
    """Return where ``text`` has whole ``words``, from ``start`` on, or None."""
    for _step in range(_MAX_FOUND):
        start = text.find(words, start)
        if start < 0:
            return None
        end = start + len(words)
        if not (start and _is_of_word(text[start - 1])) and not (
            end < len(text) and _is_of_word(text[end])
        ):
            return start
        start += 1
    return None


def _is_of_word(character):
    return character.isalnum() or character == "_"


def _link(words, url):
    return Markup('<a href="%s">%s</a>') % (url, words)


def matrix_to(identifier):
    """Return the address with which every Matrix client opens a person or a room."""
    return f"https://matrix.to/#/{quote(identifier, safe='@!#:')}"


def message(body, txn_id, message_type="m.text", links=None, below=None, mentions=()):
    """Return the content of an ``m.room.message`` that says ``body``.

    ``links`` maps words to addresses, ``below`` is that of to_html. ``mentions`` are
    pairs of name and Matrix user id, of people who may have the same name; the content
    always states who is mentioned, because otherwise clients guess from names in the
    text. There is HTML only if it says more than the plain text, and none for a text
    that does not fit in an event.
    """
    body = one_line_end(clean(body))
    links = [(clean(words), url) for words, url in (links or {}).items()]
    links += [(clean(name), matrix_to(user)) for name, user in mentions]
    people = sorted({user for _name, user in mentions})
    content = {
        "msgtype": message_type,
        "body": body,
        "m.mentions": {"user_ids": people} if people else {},
        MARKER: txn_id,
    }
    if len(body) <= MAX_CONTENT_BYTES and (links or below):
        html = to_html(body, links, below and (clean(below[0]), below[1]))
        if "<a " in html:
            content["format"] = "org.matrix.custom.html"
            content["formatted_body"] = html
    return content


def formatted(content, html, below, mentions=()):
    """Return ``content`` with ``html`` in place of the HTML that its text has.

    ``html`` is HTML of Matrix already; ``below`` and ``mentions`` are those of message.
    """
    names = [_link(clean(name), matrix_to(user)) + ": " for name, user in mentions]
    gap = "" if _BLOCK_END.search(html) else "<br/>"
    link = _link(clean(below[0]), below[1])
    return {
        **content,
        "format": "org.matrix.custom.html",
        "formatted_body": "".join([*names, html, gap, link]),
    }


def file(name, mimetype, size, txn_id):
    """Return the content of a message that is a file.

    The worker turns it into one when the homeserver has the file: until then it is a
    text with the name, which an older worker without support for files sends.
    """
    return {
        "msgtype": "m.text",
        "body": clean(name)[:_MAX_FILE_NAME] or "file",
        "info": {"mimetype": mimetype or "application/octet-stream", "size": size},
        "m.mentions": {},
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
    """Return ``content``, shortened if it is too large for an event.

    The HTML goes first, then the end of the text.
    """
    if fits(content):
        return content
    content = without_html(content)
    if fits(content):
        return content
    body = content["body"].removesuffix(ELLIPSIS)
    left = MAX_CONTENT_BYTES - size({**content, "body": ELLIPSIS})
    escaped = json.dumps(body, ensure_ascii=False)[1:-1].encode()
    return {**content, "body": _unescaped(escaped[: max(left, 0)]) + ELLIPSIS}


def _unescaped(escaped):
    """Return the text of ``escaped`` bytes of JSON, whose last character may be cut in
    two."""
    text = escaped.decode(errors="ignore")
    # An escape such as \u0001 has six characters.
    for end in range(len(text), max(len(text) - 6, 0), -1):
        try:
            return json.loads(f'"{text[:end]}"')
        except ValueError:
            continue
    return ""


def is_room_id(value):
    """Whether ``value`` can be the id of a room. Newer ids have no server part."""
    return len(value) > 1 and value[0] == "!" and _is_id(value)


def is_room_alias(value):
    return value.startswith("#") and ":" in value[2:] and _is_id(value)


def is_user_id(value):
    return value.startswith("@") and ":" in value[2:] and _is_id(value)


def _is_id(value):
    return len(value.encode("utf-8", "replace")) <= MAX_ID_BYTES and not re.search(
        r"[\s\x00-\x1f\ud800-\udfff]", value
    )
