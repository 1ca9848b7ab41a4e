"""What homeservers say about people, made harmless. Needs no ORM."""

import base64
import binascii
import io
import re
import unicodedata

from PIL import Image, UnidentifiedImageError

from . import content

MAX_NAME = 120
AVATAR_PIXELS = 128
MAX_AVATAR_BYTES = 1024 * 1024
# A picture of a few kilobytes may have a size that fills all memory when it is decoded.
MAX_AVATAR_SOURCE_PIXELS = 4096 * 4096
_AVATAR_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# Controls, half surrogate pairs, private and unassigned characters, line separators.
_HIDDEN_CATEGORIES = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
# Marks that reverse the reading direction, and blanks without a width. The joiner of
# emoji is not among them.
_HIDDEN = set("\u200b\u200e\u200f\u2060\u061c\ufeff\u00ad") | {
    chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_MXC = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]{1,255})/([A-Za-z0-9_-]{1,255})")


def harmless_name(value):
    """Return a display name without what could disguise it, on one line; else ``""``.

    People choose their own names: one must not be made to look like another's with
    reversed text or invisible characters.
    """
    if not isinstance(value, str):
        return ""
    # Names may be megabytes long: read only the beginning.
    seen = (
        " " if char.isspace() else char
        for char in value[: 10 * MAX_NAME]
        if char.isspace()
        or (
            unicodedata.category(char) not in _HIDDEN_CATEGORIES and char not in _HIDDEN
        )
    )
    return " ".join("".join(seen).split())[:MAX_NAME].strip()


def is_mxc(value):
    """Whether ``value`` is the address of a file on a homeserver."""
    return isinstance(value, str) and bool(_MXC.fullmatch(value))


def split_mxc(value):
    """Return server and media id of an ``mxc://`` address that is_mxc."""
    return _MXC.fullmatch(value).groups()


def direct_rooms(account_data):
    """Return ``{user id: [room ids]}`` of ``m.direct``, without what is malformed."""
    if not isinstance(account_data, dict):
        return {}
    found = {}
    for user_id, rooms in account_data.items():
        if not content.is_user_id(user_id) or not isinstance(rooms, list):
            continue
        rooms = [
            room for room in rooms if isinstance(room, str) and content.is_room_id(room)
        ]
        if rooms:
            found[user_id] = rooms
    return found


def profile(user_id, answer):
    """Return name and avatar address of a profile, directory or member entry."""
    answer = answer if isinstance(answer, dict) else {}
    # The member list alone writes it with an underscore.
    name = answer.get("displayname") or answer.get("display_name")
    avatar = answer.get("avatar_url")
    return {
        "matrix_user_id": user_id,
        "name": harmless_name(name),
        "avatar_url": avatar if is_mxc(avatar) else False,
    }


def avatar_png(raw):
    """Return the picture ``raw`` as a small PNG in base64, or None if it is not one.

    It is redrawn, so that nothing but the pixels is kept of what a stranger uploaded.
    """
    if not raw or len(raw) > MAX_AVATAR_BYTES:
        return None
    try:
        with Image.open(io.BytesIO(raw), formats=_formats()) as picture:
            if picture.width * picture.height > MAX_AVATAR_SOURCE_PIXELS:
                return None
            # Decodes JPEG at a fraction of its size at once.
            picture.draft("RGB", (AVATAR_PIXELS, AVATAR_PIXELS))
            small = picture.convert("RGBA")
        small.thumbnail((AVATAR_PIXELS, AVATAR_PIXELS))
        drawn = io.BytesIO()
        small.save(drawn, "PNG")
    except (
        OSError,
        ValueError,
        SyntaxError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        binascii.Error,
    ):
        return None
    return base64.b64encode(drawn.getvalue())


def _formats():
    """Return those kinds of pictures that this machine's Pillow can read."""
    Image.init()
    return [kind for kind in _AVATAR_FORMATS if kind in Image.OPEN]
