from unittest.mock import patch

from lxml import etree, html

from odoo.tests import BaseCase, tagged

from ..tools import inbound_html
from ..tools.html_tags import without_overload


@tagged("post_install", "-at_install")
class TestHtmlTags(BaseCase):
    """Whoever writes HTML decides how many attributes a tag has."""

    def test_a_tag_with_too_many_attributes_keeps_none(self):
        for blank in (" ", "/", "\n", "=''"):
            names = blank.join(f"a{number}" for number in range(400))
            source = f"<b class='x'>1</b><p {names}>2</p> 3 < 4 <i {names}>5</i>"
            self.assertEqual(
                without_overload(source), "<b class='x'>1</b><p>2</p> 3 < 4 <i>5</i>"
            )

    def test_what_people_write_is_left_alone(self):
        style = "; ".join(f"margin-{side}: 0 auto" for side in "abcdefghijklm")
        for source in (
            "<p>" + "word " * 5_000 + "</p>",
            f"<p style='{style}' class='a b c'>x</p>",
            f"<a href='https://x.example/{'y' * 1_900}?a=1&b=2'>x</a>",
            "1 < 2 " + "word " * 500,
        ):
            self.assertEqual(without_overload(source), source)

    def test_a_room_cannot_keep_the_parser_busy(self):
        """Counted: how many attributes an element has that is parsed."""
        parsed = []
        parse = html.fragment_fromstring

        def counted(*args, **options):
            root = parse(*args, **options)
            parsed.extend(len(element.attrib) for element in root.iter(etree.Element))
            return root

        names = " ".join(f"a{number}" for number in range(10_000))
        with patch.object(inbound_html.html, "fragment_fromstring", counted):
            said = inbound_html.safe(f"<p {names}>Hello</p>")

        self.assertIn("Hello", said)
        self.assertLess(max(parsed), 300)
