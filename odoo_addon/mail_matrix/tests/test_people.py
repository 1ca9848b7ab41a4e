import base64
import io
import zlib

from PIL import Image

from odoo.tests import BaseCase

from ..tools import people


def picture(kind="PNG", size=(300, 200)):
    raw = io.BytesIO()
    Image.new("RGB", size, "red").save(raw, kind)
    return raw.getvalue()


def claims_to_be_huge():
    """Return a PNG of a few bytes that says it has 100,000 × 100,000 pixels."""

    def chunk(name, data):
        crc = zlib.crc32(name + data).to_bytes(4)
        return len(data).to_bytes(4) + name + data + crc

    side = (100_000).to_bytes(4)
    header = side + side + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


class TestPeople(BaseCase):
    """What a stranger says of himself can do no harm."""

    def test_a_name_keeps_letters_and_emoji(self):
        for name in ("Jane Doe", "Иван", "王小明", "Zoë 👩‍⚖️", "O'Neill-Åberg (Ltd.)"):
            self.assertEqual(people.harmless_name(name), name)

    def test_a_name_loses_what_disguises_it(self):
        cases = {
            "\u202egnp.exe": "gnp.exe",
            "\u2066Anna\u2069": "Anna",
            "An\u200bna": "Anna",
            "An\x00na\x1b[31m": "Anna[31m",
            "Anna\n\n\tDoe": "Anna Doe",
            "Anna\u2028Doe": "Anna Doe",
            "\ud800Anna": "Anna",
            "   ": "",
        }
        for said, shown in cases.items():
            self.assertEqual(people.harmless_name(said), shown, repr(said))

    def test_a_name_is_bounded_and_text(self):
        self.assertEqual(len(people.harmless_name("a" * 5_000_000)), people.MAX_NAME)
        for said in (None, 1, True, ["a"], {"a": "b"}):
            self.assertEqual(people.harmless_name(said), "")

    def test_account_data_of_every_shape_gives_what_is_valid_in_it(self):
        sound = {"@a:x": ["!1:x", "!2"]}
        self.assertEqual(people.direct_rooms(sound), sound)
        mixed = {"@b:x": None, "@c:x": "!1", "nobody": ["!1"], "@d:x": [1, "#a:x", {}]}
        self.assertEqual(people.direct_rooms({**sound, **mixed}), sound)
        for broken in (None, [], "x", 1, {"@a:x": {}}):
            self.assertEqual(people.direct_rooms(broken), {})

    def test_a_profile_of_every_shape_gives_a_name_and_an_avatar(self):
        answer = {"displayname": "Anna", "avatar_url": "mxc://x.org/abc"}
        sound = {
            "matrix_user_id": "@a:x",
            "name": "Anna",
            "avatar_url": "mxc://x.org/abc",
        }
        self.assertEqual(people.profile("@a:x", answer), sound)
        for avatar in ("https://x.org/a.png", "mxc://x/../y", "mxc://x", 1, None, []):
            seen = people.profile("@a:x", {"avatar_url": avatar})
            self.assertIs(seen["avatar_url"], False)
        for broken in (None, [], "x", 1):
            self.assertEqual(people.profile("@a:x", broken)["name"], "")

    def test_pictures_become_small_ones(self):
        Image.init()
        kinds = {"PNG", "JPEG", "GIF", "WEBP"} & Image.SAVE.keys()
        self.assertLessEqual({"PNG", "JPEG", "GIF"}, kinds)
        for kind in kinds:
            drawn = people.avatar_png(picture(kind))
            with Image.open(io.BytesIO(base64.b64decode(drawn))) as small:
                self.assertEqual(small.format, "PNG")
                self.assertLessEqual(max(small.size), people.AVATAR_PIXELS)

    def test_nothing_of_a_picture_but_its_pixels_is_kept(self):
        raw = io.BytesIO()
        noted = Image.new("RGB", (10, 10))
        noted.save(raw, "JPEG", comment=b"<script>alert(1)</script>")

        drawn = base64.b64decode(people.avatar_png(raw.getvalue()))

        self.assertNotIn(b"script", drawn)

    def test_what_is_not_a_picture_is_ignored(self):
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        too_large = picture() + b"\0" * people.MAX_AVATAR_BYTES
        bitmap = picture("BMP")
        for raw in (b"", None, b"<html>", svg, bitmap, too_large):
            self.assertIsNone(people.avatar_png(raw))

    def test_a_picture_that_claims_to_be_huge_is_not_unpacked(self):
        self.assertIsNone(people.avatar_png(claims_to_be_huge()))
