"""Reads what a homeserver or the worker sends, without trusting any of it."""

import json
import re
from html import escape
from typing import NamedTuple

from . import content as contents
from .people import is_mxc

MAX_EVENTS = 100

# The marker of an Odoo: this one sent it, or another one that shares the room.
_OURS = "org.odoo."
# Beside the content, from the worker: why it could not decrypt an event.
_UNREADABLE = "org.odoo.unreadable"
_MAX_REASON = 500
# What the worker has sealed of a file in an encrypted room.
_SEALED = "org.odoo.sealed"
_HTML = "org.matrix.custom.html"
# The one event of a room's state that is of interest: the room was replaced.
_TOMBSTONE = ("m.room.tombstone", "")
_MAX_NAME = 80
_MAX_KEY = 32
# Control characters, and those that change the direction of the text around them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_REPLY_FALLBACK = re.compile(r"\A(?:> ?.*(?:\n|\Z))+\n?")
_DONE_MARKS = {"👍", "✅"}
# Skin tones, and the selector of the coloured picture, which some clients add.
_SHADES = re.compile("[\U0001f3fb-\U0001f3ff\ufe0e\ufe0f]")
_PARAGRAPHS = re.compile(r"\n{2,}")


class BadBatch(ValueError):
    """A body that is not a batch of events; ``status`` is the HTTP answer."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


# The types of files that are accepted, by their bytes: none that a browser or a desktop
# would run.
FILE_TYPES = frozenset(
    f"{kind}/{name}"
    for kind, names in {
        "application": (
            "pdf zip msword rtf vnd.ms-excel vnd.ms-powerpoint vnd.ms-outlook "
            "vnd.oasis.opendocument.text vnd.oasis.opendocument.spreadsheet "
            "vnd.oasis.opendocument.presentation "
            "vnd.openxmlformats-officedocument.wordprocessingml.document "
            "vnd.openxmlformats-officedocument.spreadsheetml.sheet "
            "vnd.openxmlformats-officedocument.presentationml.presentation"
        ),
        "audio": "aac flac mp4 mpeg ogg wav webm x-m4a x-wav",
        "image": "bmp gif heic jpeg png tiff webp",
        "text": "csv plain rtf",
        "video": "mp4 mpeg ogg quicktime webm",
    }.items()
    for name in names.split()
)
_FILE_MESSAGES = ("m.file", "m.image", "m.video", "m.audio")
_MAX_FILE_NAME = 200
_MAX_FILE_BYTES = 2**50


class File(NamedTuple):
    uri: str
    name: str
    size: int  # as the sender says, else 0
    sealed: str | None = None  # key and checksum of an encrypted one


class Event(NamedTuple):
    """The parts of an event that Odoo uses."""

    kind: str  # message, edit, redaction, reaction, replaced or unreadable
    event_id: str
    room_id: str
    sender: str
    sent_at_ms: int
    # Of an unreadable one: why.
    text: str = ""
    html: str | None = None
    # The event that it edits, redacts or reacts to; for a message, the one it answers.
    target: str | None = None
    key: str | None = None
    file: File | None = None
    # The room that replaced this one, as whoever replaced it says.
    replacement: str | None = None


def read_batch(body):
    """Return (events, names by Matrix ID) of the JSON ``body``. Raises BadBatch."""
    try:
        # Given bytes, json would guess other encodings.
        batch = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadBatch(400, "The body is not valid JSON in UTF-8.") from None
    events = batch.get("events") if isinstance(batch, dict) else None
    if not isinstance(events, list):
        raise BadBatch(400, "The body has no list “events”.")
    if len(events) > MAX_EVENTS:
        raise BadBatch(413, f"A request can hold at most {MAX_EVENTS} events.")
    names = batch.get("names")
    return events, names if isinstance(names, dict) else {}


def read(event):
    """Return the Event that the JSON value ``event`` is, or None if Odoo ignores it."""
    content = event.get("content") if isinstance(event, dict) else None
    if not isinstance(content, dict):
        return None
    if "state_key" in event and (event.get("type"), event["state_key"]) != _TOMBSTONE:
        return None
    about = [event.get(name) for name in ("event_id", "room_id", "sender")]
    if not all(isinstance(value, str) for value in about) or not (
        _is_event_id(about[0])
        and contents.is_room_id(about[1])
        and contents.is_user_id(about[2])
    ):
        return None
    if any(key.startswith(_OURS) for key in content):
        return None
    read_content = _READERS.get(event.get("type"))
    found = read_content and read_content(event, content)
    if not found:
        return None
    kind, values = found
    return Event(kind, *about, _timestamp(event.get("origin_server_ts")), **values)


def is_done_mark(key):
    """Whether the reaction ``key`` says that something is done: 👍 or ✅."""
    return _SHADES.sub("", key) in _DONE_MARKS


def sender_name(name, user_id):
    """Return ``name``, which its owner chose freely, fit for one line."""
    if not isinstance(name, str):
        name = ""
    name = " ".join(_UNPRINTABLE.sub(" ", contents.clean(name)).split())
    return name[:_MAX_NAME] or user_id[1:].partition(":")[0]


def text_html(text):
    """Return plain ``text`` as HTML."""
    paragraphs = _PARAGRAPHS.split(contents.one_line_end(text).strip("\n"))
    return "".join(
        f"<p>{escape(lines, quote=False).replace(chr(10), '<br>')}</p>"
        for lines in paragraphs
    )


def _read_message(_event, content):
    relation = _relation(content)
    if relation.get("rel_type") == "m.replace":
        target = relation.get("event_id")
        new = content.get("m.new_content")
        if not _is_event_id(target) or not isinstance(new, dict):
            return None
        if any(key.startswith(_OURS) for key in new):
            return None
        values = _text_of(new, is_reply=False)
        return values and ("edit", {**values, "target": target})
    answered = relation.get("m.in_reply_to")
    answered = answered.get("event_id") if isinstance(answered, dict) else None
    if relation.get("rel_type") == "m.thread" and (
        relation.get("is_falling_back") or not _is_event_id(answered)
    ):
        # In a thread, this is the last message, for clients without thread support.
        answered = relation.get("event_id")
    target = answered if _is_event_id(answered) else None
    is_reply = bool(target)
    values = _text_of(content, is_reply) or _file_of(content, is_reply)
    return values and ("message", {**values, "target": target})


def _read_redaction(event, content):
    # Newer rooms have it in the content.
    for target in (content.get("redacts"), event.get("redacts")):
        if _is_event_id(target):
            return "redaction", {"target": target}
    return None


def _read_reaction(_event, content):
    relation = _relation(content)
    target, key = relation.get("event_id"), relation.get("key")
    if relation.get("rel_type") != "m.annotation" or not _is_event_id(target):
        return None
    key = _UNPRINTABLE.sub("", contents.clean(key)) if isinstance(key, str) else ""
    if not key or len(key) > _MAX_KEY:
        return None
    return "reaction", {"target": target, "key": key}


def _read_tombstone(event, content):
    if "state_key" not in event:
        return None
    room = content.get("replacement_room")
    is_other = isinstance(room, str) and contents.is_room_id(room)
    is_other = is_other and room != event["room_id"]
    return "replaced", {"replacement": room if is_other else None}


def _read_encrypted(event, _content):
    reason = event.get(_UNREADABLE)
    if not isinstance(reason, str):
        # From the homeserver: the worker passes it on when it has decrypted it.
        return None
    reason = " ".join(_UNPRINTABLE.sub(" ", contents.clean(reason)).split())
    return "unreadable", {"text": reason[:_MAX_REASON]}


_READERS = {
    _TOMBSTONE[0]: _read_tombstone,
    "m.room.encrypted": _read_encrypted,
    "m.room.message": _read_message,
    "m.room.redaction": _read_redaction,
    "m.reaction": _read_reaction,
}


def _text_of(content, is_reply):
    """Return text and HTML of a message, without what clients quote in a reply."""
    text = content.get("body")
    if content.get("msgtype") != "m.text" or not isinstance(text, str):
        return None
    text = contents.one_line_end(contents.clean(text))
    if is_reply:
        text = _REPLY_FALLBACK.sub("", text, count=1) or text
    if not text.strip():
        return None
    html = content.get("formatted_body")
    has_html = content.get("format") == _HTML and isinstance(html, str)
    return {"text": text, "html": contents.clean(html) if has_html else None}


def _file_of(content, is_reply):
    """Return the file of a message, and its caption as text and HTML."""
    (uri, sealed), body = _address_of_file(content), content.get("body")
    if content.get("msgtype") not in _FILE_MESSAGES or not is_mxc(uri):
        return None
    name = content.get("filename")
    caption = {"text": "", "html": None}
    if isinstance(name, str) and isinstance(body, str) and body != name:
        caption = _text_of({**content, "msgtype": "m.text"}, is_reply) or caption
    name = name if isinstance(name, str) else body
    name = _UNPRINTABLE.sub(" ", contents.clean(name if isinstance(name, str) else ""))
    name = " ".join(name.replace("/", " ").replace("\\", " ").split())
    info = content.get("info")
    size = info.get("size") if isinstance(info, dict) else 0
    is_size = isinstance(size, int) and 0 < size < _MAX_FILE_BYTES
    name = name[-_MAX_FILE_NAME:] or "file"
    file = File(uri, name, size if is_size else 0, sealed)
    return {**caption, "file": file}


def _address_of_file(content):
    """Return the address of a message's file, and its sealed key if it is encrypted."""
    encrypted = content.get("file")
    sealed = encrypted.get(_SEALED) if isinstance(encrypted, dict) else None
    if isinstance(sealed, str) and re.match(r"fernet:.{1,4096}\Z", sealed):
        return encrypted.get("url"), sealed
    return content.get("url"), None


def _relation(content):
    relation = content.get("m.relates_to")
    return relation if isinstance(relation, dict) else {}


def _is_event_id(value):
    return (
        isinstance(value, str)
        and value[:1] == "$"
        and 1 < len(value.encode("utf-8", "replace")) <= contents.MAX_ID_BYTES
        and not re.search(r"[\s\x00-\x1f\ud800-\udfff]", value)
    )


def _timestamp(value):
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value < 2**53 else 0
