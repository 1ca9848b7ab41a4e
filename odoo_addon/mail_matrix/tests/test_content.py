import json
import re
from html import unescape

from odoo.tests import BaseCase, tagged

from ..tools import content


@tagged("post_install", "-at_install")
class TestContent(BaseCase):
    def test_what_jsonb_refuses_is_removed_and_the_rest_is_kept(self):
        text = "a\x00b\ud800c\ud83d\ude00 \U0001f600\n„ö“"

        self.assertEqual(content.clean(text), "abc\U0001f600 \U0001f600\n„ö“")

    def test_html_is_escaped_and_keeps_the_lines(self):
        html = content.to_html("<b>1</b> & \"2\"\n'3'")

        self.assertEqual(html, "&lt;b&gt;1&lt;/b&gt; &amp; &#34;2&#34;<br/>&#39;3&#39;")

    def test_the_first_mention_of_the_name_links_to_the_record(self):
        html = content.to_html(
            "A <x> and A <x>",
            [("A <x>", "https://o.example/?a=1&b=2")],
            ("Open", "https://o.example/?a=1&b=2"),
        )

        self.assertEqual(
            html,
            '<a href="https://o.example/?a=1&amp;b=2">A &lt;x&gt;</a> and A &lt;x&gt;',
        )

    def test_a_text_without_the_name_gets_the_link_below(self):
        html = content.to_html("Moved", [("A", "https://o")], ("Open", "https://o"))

        self.assertEqual(html, 'Moved<br/><a href="https://o">Open</a>')

    def test_nobody_is_mentioned_unless_meant(self):
        message = content.message("Hello @room", "t1")

        self.assertEqual(message["m.mentions"], {})
        self.assertEqual(message["org.odoo.outbox"], "t1")
        self.assertEqual(message["msgtype"], "m.text")

    def test_a_mention_names_the_person_in_both_texts(self):
        message = content.message(
            "Hello Ann",
            "t1",
            mentions=[("Ann", "@ann:example.org")],
        )

        self.assertEqual(message["m.mentions"], {"user_ids": ["@ann:example.org"]})
        self.assertEqual(
            message["formatted_body"],
            'Hello <a href="https://matrix.to/#/@ann:example.org">Ann</a>',
        )

    def test_names_count_as_whole_words_only(self):
        html = content.to_html("Announcement for Ann.", [("Ann", "https://a")])

        self.assertEqual(html, 'Announcement for <a href="https://a">Ann</a>.')
        self.assertEqual(content.unnamed("Announcement", ["Ann"]), ["Ann"])
        self.assertEqual(content.unnamed("(Ann)", ["Ann"]), [])
        self.assertEqual(content.unnamed("Ann Lee", ["Ann", "Ann Lee"]), ["Ann"])

    def test_two_people_of_one_name_are_both_mentioned(self):
        message = content.message(
            "Ann and Ann and Ann",
            "t1",
            mentions=[("Ann", "@ann:example.org"), ("Ann", "@ann2:example.org")],
        )

        self.assertEqual(
            message["m.mentions"],
            {"user_ids": ["@ann2:example.org", "@ann:example.org"]},
        )
        self.assertEqual(
            message["formatted_body"],
            '<a href="https://matrix.to/#/@ann:example.org">Ann</a> and '
            '<a href="https://matrix.to/#/@ann2:example.org">Ann</a> and Ann',
        )
        self.assertEqual(content.unnamed("Hello Ann", ["Ann", "Ann"]), ["Ann"])

    def test_lines_and_blanks_are_the_same_in_both_texts(self):
        text = "  a   b\r\n\tc\rd  e\n\n e\u2028f\x0bg A"
        message = content.message(text, "t1", links={"A": "https://a"})

        self.assertEqual(message["body"], "  a   b\n\tc\nd  e\n\n e\nf\ng A")
        self.assertEqual(shown(message), message["body"].expandtabs(8))
        self.assertNotIn("\r", message["formatted_body"])
        # What begins a line or follows a blank, HTML would not show.
        lines = message["formatted_body"].replace("<br/>", "\n")
        self.assertNotRegex(lines, "(?m)^ |  ")

    def test_html_that_adds_nothing_to_the_text_is_left_out(self):
        for text in ("Hello", "1 < 2", "a\n  b\tc", ""):
            message = content.message(text, "t1")
            self.assertEqual(message["body"], text)
            self.assertNotIn("formatted_body", message)
            self.assertNotIn("format", message)
        message = content.message("Ann Hello", "t1", mentions=[("Ann", "@a:b")])
        self.assertEqual(message["format"], "org.matrix.custom.html")

    def test_a_typed_user_id_is_found_and_an_address_is_not(self):
        for text, found in (
            ("@lawyer:example.org", ["@lawyer:example.org"]),
            ("Ask @lawyer:example.org.", ["@lawyer:example.org"]),
            ("(@a.b-c/d=e:x.org:8448)", ["@a.b-c/d=e:x.org:8448"]),
            ("@a:x.org, @b:x.org, @a:x.org", ["@a:x.org", "@b:x.org"]),
            ("@MixedCase:example.org", ["@MixedCase:example.org"]),
            ("ann@example.org", []),
            ("mail ann@lawyer:example.org", []),
            ("https://matrix.to/#/@a:x.org", []),
            ("@room and @ann and @:x.org and @ann:", []),
            ("12:30 @ court: now", []),
        ):
            users = [user for _name, user in content.typed_mentions(text)]
            self.assertEqual(users, found, text)
        many = " ".join(f"@u{n}:x.org" for n in range(500))
        self.assertEqual(len(content.typed_mentions(many)), 50)

    def test_the_work_for_a_hostile_text_grows_with_what_fits(self):
        """Counted, not timed: how often a text is searched does not depend on its
        length, and what exceeds a message is not searched at all."""
        searches = []

        class Counted(str):
            def find(self, *args):
                searches.append(args)
                return str.find(self, *args)

        names = ["a", "a a", "Ann", "Ann Lee", "aa" * 100, "-"]
        for text in ("a " * 30_000, "aa" * 30_000, "Ann Lee " * 7_000, "-" * 60_000):
            searches.clear()
            wanted = dict.fromkeys(names, 3)
            list(content._places(Counted(text), wanted))
            self.assertLess(len(searches), 20_000, text[:10])

        for size in (0, 1, 700_000, 5_000_000):
            message = content.message("Ann " * (size // 4), "t", links={"Ann": "x"})
            self.assertEqual("formatted_body" in message, 0 < size // 4 < 15_000)
            self.assertTrue(content.fits(content.cut(message)))

    def test_a_long_text_is_cut_to_what_an_event_holds(self):
        for text in (
            "a" * 200_000,
            "ä" * 100_000,
            '"\n' * 80_000,
            "\U0001f600" * 40_000,
            "\x01" * 40_000,
            "\\" * 61_000,
            "a\x01\\" * 20_000,
            "ab\x01" * 30_000,
            "abc\x01ä" * 30_000,
        ):
            cut = content.cut(content.message(text, "t1"))

            compact = json.dumps(cut, ensure_ascii=False, separators=(",", ":"))
            size = len(compact.encode())
            self.assertLessEqual(size, 60 * 1024)
            self.assertGreater(size, 59 * 1024)
            self.assertTrue(cut["body"].endswith("…"))
            self.assertTrue(text.startswith(cut["body"][:-1]))
            self.assertNotIn("formatted_body", cut)

    def test_ids_are_distinguished_from_other_text(self):
        self.assertTrue(content.is_room_id("!abc:example.org"))
        self.assertTrue(
            content.is_room_id("!" + "x" * 43), "Room version 12 names no server"
        )
        for value in (
            "",
            "!",
            "#a:b",
            "abc",
            "!a b",
            "!a\n",
            "!" + "ä" * 130,
            "!a\ud800",
        ):
            self.assertFalse(content.is_room_id(value), value)
        self.assertTrue(content.is_room_alias("#case:example.org"))
        for value in ("#", "#case", "case:example.org", "#:b c"):
            self.assertFalse(content.is_room_alias(value), value)
        self.assertTrue(content.is_user_id("@ann:example.org:8448"))
        for value in ("@", "@ann", "ann:example.org"):
            self.assertFalse(content.is_user_id(value), value)


def shown(message):
    """Return what a client shows of the HTML, as text."""
    text = message["formatted_body"].replace("<br/>", "\n")
    return unescape(re.sub("<[^>]+>", "", text)).replace("\xa0", " ")
