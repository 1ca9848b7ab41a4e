import re
from types import SimpleNamespace
from unittest.mock import patch
from urllib.parse import urlsplit

from lxml import etree

from odoo.tests import BaseCase, tagged

from ..tools import chatter_html

# What the specification lets a client show, of what this addon makes use of.
_ALLOWED = {
    *("a", "b", "blockquote", "br", "caption", "code", "del", "details", "div", "em"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s"),
    *("strong", "sub", "summary", "sup", "table", "tbody", "td", "th", "thead", "tr"),
    *("u", "ul"),
}
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}
_BASE = "https://odoo.example.org"

# Text that a reader must not see carries this word, text that must stay the other.
_GONE, _STAYS = "GONE", "STAYS"

_HOSTILE = [
    # Code.
    "<script>GONE</script>STAYS",
    "<SCRIPT SRC=//evil.example></SCRIPT>STAYS",
    "<scr<script>ipt></script>STAYS",
    "<style>@import 'x'; .GONE{}</style>STAYS",
    "<noscript><p title='</noscript><script>GONE</script>'>",
    "<svg onload=GONE><script>GONE</script></svg>STAYS",
    "<svg><foreignObject><iframe src=GONE></iframe></foreignObject></svg>STAYS",
    "<math><mtext><mglyph><style>GONE</style></math><p>",
    "<iframe src='javascript:GONE'>GONE</iframe>STAYS",
    "<object data=GONE><embed src=GONE></object>STAYS",
    "<template><b>GONE</b></template>STAYS",
    "<b onmouseover=GONE onclick='GONE'>STAYS</b>",
    "<body onload=GONE>STAYS",
    "<meta http-equiv=refresh content='0;url=javascript:GONE'>STAYS",
    "<base href='javascript:GONE//'><a href='x'>STAYS</a>",
    "<link rel=stylesheet href=GONE>STAYS",
    "<textarea><script>GONE</script></textarea>STAYS",
    "<title><script>GONE</script></title>STAYS",
    "<xmp><b>GONE</b></xmp>STAYS",
    "<form action='javascript:GONE'><button>GONE</button>STAYS</form>",
    "<input value=GONE autofocus onfocus=GONE>STAYS",
    "<select><option>GONE</option></select>STAYS",
    "<isindex prompt=GONE>STAYS",
    "<video src=GONE><source onerror=GONE></video>STAYS",
    "<details open ontoggle=GONE>STAYS</details>",
    "<marquee onstart=GONE>STAYS</marquee>",
    # Links.
    "<a href='javascript:GONE'>STAYS</a>",
    "<a href=' JaVaScRiPt:GONE'>STAYS</a>",
    "<a href='java&#x09;script:GONE'>STAYS</a>",
    "<a href='java\x00script:GONE'>STAYS</a>",
    "<a href='\x01javascript:GONE'>STAYS</a>",
    "<a href='&#106;avascript&colon;alert(1)'>STAYS</a>",
    "<a href='javascript&#0000058GONE'>STAYS</a>",
    "<a href='vbscript:GONE'>STAYS</a>",
    "<a href='data:text/html,<script>GONE</script>'>STAYS</a>",
    "<a href='data:text/html;base64,%s'>STAYS</a>" % ("R09ORQ" * 100),
    "<a href='blob:https://x/GONE'>STAYS</a>",
    "<a href='file:///etc/GONE'>STAYS</a>",
    "<a href='http://[GONE'>STAYS</a>",
    "<a href='https:x'>STAYS</a>",
    "<a href='https://user:GONE@bank.example'>STAYS</a>",
    "<a href='//evil.example/?access_token=GONE'>STAYS</a>",
    "<a href='/mail/view?hash=GONE'>STAYS</a>",
    "<a href='/web/login?redirect=%2Fmail%3Faccess%255Ftoken%3DGONE'>STAYS</a>",
    "<a href='/web/signup?token=GONE'>STAYS</a>",
    "<a href='#GONE'>STAYS</a>",
    "<a href='https://x.example' style='x' target=_blank ping=GONE>STAYS</a>",
    "<a href='https://x.example/\"onclick=\"alert(1)'>STAYS</a>",
    "<a href='https://x.example/%s'>STAYS</a>" % ("GONE" * 1000),
    "STAYS https://odoo.example.org/my/1?access_token=GONE and more",
    "STAYS https://odoo.example.org/my/1?x=1&amp;access_token=GONE",
    # Images and pictures of text.
    "<img src=x onerror=GONE>STAYS",
    "<img src='https://tracker.example/GONE.gif' width=1 height=1>STAYS",
    "<img alt='<script>alert(1)</script>' src=GONE>STAYS",
    "<img src='data:image/png;base64,%s'>STAYS" % ("A" * 50_000),
    "<picture><source srcset=GONE><img src=GONE></picture>STAYS",
    # CSS.
    "<p style='display:none'>GONE</p>STAYS",
    "<p style='DISPLAY : NONE !important'>GONE</p>STAYS",
    "<span style='font-size:0px'>GONE</span>STAYS",
    "<span style='color:red;visibility: hidden'>GONE</span>STAYS",
    "<span style='mso-hide:all'>GONE</span>STAYS",
    "<div style='max-height:0;overflow:hidden'>GONE</div>STAYS",
    "<div style='opacity:0'>GONE</div>STAYS",
    "<div hidden>GONE</div>STAYS",
    "<span style='font-size:0.9em;opacity:0.5'>STAYS</span>",
    "<p style='background:url(javascript:GONE)'>STAYS</p>",
    "<p style='width:expression(GONE)'>STAYS</p>",
    # Comments and instructions.
    "<!--[if mso]><p>GONE</p><![endif]-->STAYS",
    "<!--[if !mso]><!--><p>STAYS</p><!--<![endif]-->",
    "<!-- GONE --!><b>x</b>--> STAYS",
    "<?xml:namespace prefix='GONE' ?>STAYS",
    "<![CDATA[x]]>STAYS",
    "<!DOCTYPE html [<!ENTITY x SYSTEM 'file:///GONE'>]>STAYS",
    # Broken source.
    "<p>STAYS<b><i></p></b>",
    "STAYS<",
    "STAYS<b",
    "STAYS<b class='",
    "</div></p></body></html>STAYS",
    "<p <b>STAYS</b>",
    "<<b>>STAYS</b>",
    "&lt;script&gt;STAYS&lt;/script&gt;",
    "&#0;&#1;&#xD800;&#xFFFF;&#x110000;&#99999999999;STAYS",
    "&amp;amp;lt;STAYS&nosuch;&;&#;&#x;",
    "\x00\x08\x0b\x1f\x7f\x9f\ud800STAYS\udfff\ufffe\uffff",
    "<b\x00>STAYS</b\x00>",
    # What nobody sees.
    "ST\u200bAYS\u200b\ufeff",
    "\u202eSTAYS\u202d",
    "STAYS" + "\u0301" * 5_000,
    # Size.
    "STAYS" + "<div>" * 10_000 + "deep" + "</div>" * 10_000,
    "STAYS" + "<b><i><u>" * 10_000,
    "STAYS" + "<blockquote>" * 10_000,
    "STAYS" + "<ul><li>" * 10_000,
    "STAYS" + "<table><tr><td>" * 10_000,
    "STAYS" + "<a href=https://x.example>" * 10_000,
    "STAYS" + "<p>" * 100_000,
    "STAYS" + "</p>" * 100_000,
    "STAYS" + "<b>x</b>" * 100_000,
    "STAYS" + "<br>" * 100_000,
    "STAYS" + "<table>" + "<tr><td>x</td></tr>" * 50_000,
    "STAYS" + "&lt;" * 300_000,
    "STAYS " + "&" * 300_000,
    "STAYS " + "<" * 300_000,
    "STAYS " + "word " * 1_000_000,
    "STAYS" + "<!--" * 100_000,
    "<p title='%s'>STAYS</p>" % ("GONE" * 10_000),
    "STAYS<p {}>x</p>".format(" ".join(f"a{n}=GONE" for n in range(20_000))),
    "STAYS<p style='%s'>x</p>" % ("display:" * 10_000),
    "STAYS" + "\n" * 1_000_000,
    "STAYS " + "access_token " * 20_000,
    "STAYS " + "wrote " * 20_000 + "<blockquote>GONE</blockquote>" * 200,
    "STAYS<p {}>x</p>".format(" ".join(f"a{n}" for n in range(40_000))),
    "STAYS<p {}>x</p>".format("/".join(f"a{n}" for n in range(40_000))),
    "STAYS<p {}>x</p>".format("".join(f"a{n}=''" for n in range(20_000))),
    "STAYS" + "<p {}>x</p>".format(" ".join(f"a{n}" for n in range(200))) * 500,
    "STAYS" + "<blockquote>" * 50 + "a<br>" * 4_000,
    "STAYS" + "<ul><li>" * 28 + "<br>" * 4_000,
    "STAYS" + f"<a href='https://x.example/{'y' * 1_900}'>a</a>" * 60,
    "STAYS" + "<a href='https://x.example/1'>a</a>" * 2_000,
    "STAYS" + "<table><tr>" + "<td>a" * 4_000,
    "STAYS" + ("data:" + "a" * 60 + " ") * 80_000,
    "STAYS " + "%61ccess_token= " * 8_000,
    "STAYS" + "<li>x" * 4_000,
    "STAYS" + "<p>\u0301" * 4_000,
    "STAYS" + "<table>" * 4_000,
    "STAYS" + "<a href='x:y'>a</a>" * 4_000,
    "STAYS" + "<div style='border-top:solid'>" * 4_000,
    "STAYS " + "\x01" * 1_000_000,
    "STAYS " + "&aaaaaaaa" * 13_000,
]


@tagged("post_install", "-at_install")
class TestChatterHtml(BaseCase):
    """What leaves is on the list of what may leave, whatever came in."""

    def test_hostile_html_leaves_as_allowed_html_of_bounded_size(self):
        for is_mail in (False, True):
            for source in _HOSTILE:
                with self.subTest(source[:80], is_mail=is_mail):
                    self.check(chatter_html.read(source, _BASE, {}, is_mail), source)

    def test_the_work_for_hostile_html_is_bounded(self):
        """Counted, not timed: how much of a source is looked at and parsed, how often
        one attribute is compared with another, and how many links are judged."""
        long = [source * 20 for source in _HOSTILE if 50_000 < len(source) < 500_000]
        scanned = []
        real = chatter_html._EMBEDDED

        def sub(new, text):
            scanned.append(len(text))
            return real.sub(new, text)

        judged = []

        def address(*args):
            judged.append(args)
            return real_address(*args)

        real_address = chatter_html.address
        with (
            patch.object(chatter_html, "_EMBEDDED", SimpleNamespace(sub=sub)),
            patch.object(chatter_html, "address", address),
        ):
            for source in _HOSTILE + long:
                judged.clear()
                chatter_html.read(source, _BASE)
                most = chatter_html.MAX_ADDRESSES // chatter_html.MIN_ADDRESS
                self.assertLessEqual(len(judged), most, source[:80])
                parsed, _is_cut = chatter_html._bounded(source)
                self.assertLessEqual(len(parsed), chatter_html.MAX_SOURCE)
                self.assertLessEqual(parsed.count("<"), chatter_html.MAX_TAGS)
                self.assertLessEqual(parsed.count("&"), chatter_html.MAX_REFERENCES)
                tags = re.findall(r"<([a-zA-Z][^<>]*)", parsed)
                names = [0, *(len(re.split(r"[\s/\"']+", tag)) for tag in tags)]
                self.assertLess(max(names), 300, source[:80])
                compared = sum(count**2 for count in names if count > 20)
                self.assertLess(compared, 50_000_000, source[:80])
        self.assertLessEqual(max(scanned), chatter_html.MAX_SCANNED)

    def check(self, reading, source):
        self.assertLessEqual(len(reading.text), 3 * chatter_html.MAX_TEXT)
        self.assertLessEqual(len(reading.html), 120_000)
        for part in (reading.text, reading.html):
            self.assertNotIn(_GONE, part if "blockquote" not in source else "")
            self.assertNotRegex(part, "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\ufeff]")
            part.encode()
        if _STAYS in source:
            self.assertIn(_STAYS, reading.text)
            self.assertIn(_STAYS, reading.html)
        tree = etree.fromstring(f"<body>{reading.html}</body>", etree.HTMLParser())
        if tree is None:
            return
        for element in tree[0].iterdescendants():
            self.assertIn(element.tag, _ALLOWED)
            self.assertLessEqual(
                set(element.attrib), _ATTRIBUTES.get(element.tag, set())
            )
            self.assertLess(sum(1 for _ in element.iterancestors()), 100)
            if element.tag == "a":
                url = urlsplit(element.get("href"))
                self.assertIn(url.scheme, ("http", "https", "ftp", "mailto", "magnet"))
                self.assertNotIn("@", url.netloc)

    def test_a_mail_with_a_megabyte_before_its_text_still_says_it(self):
        picture = "<img src='data:image/png;base64,%s'>" % ("A" * 1_000_000)

        reading = chatter_html.read(f"{picture}<p>The text</p>")

        self.assertEqual(reading.text, "The text")
        self.assertFalse(reading.is_cut)

    def test_history_and_signatures_of_mail_clients_are_left_out(self):
        """As they come without the marks that Odoo adds where it recognises some."""
        classes = ["gmail_quote", "gmail_extra", "yahoo_quoted", "moz-cite-prefix"]
        classes += ["OutlookMessageHeader", "protonmail_quote", "tutanota_quote"]
        classes += ["zmail_extra", "signature_wrapper", "gmail_signature"]
        classes += ["moz-signature", "o-signature-container", "protonmail_signature"]
        marks = [f"class='{name} other'" for name in classes]
        marks += ["id='divRplyFwdMsg'", "id='ms-outlook-mobile-signature'"]
        marks += ["id='Signature'", "data-o-mail-quote='1'"]
        for mark in marks:
            source = f"<p>STAYS</p><div {mark}><p>GONE</p></div>"
            with self.subTest(mark):
                reading = chatter_html.read(source, is_mail=True)
                self.assertEqual((reading.text, reading.html), (_STAYS, _STAYS))
        outlook = "border:none;border-top:solid #E1E1E1 1.0pt"
        for sender in ("From", "Von", "De"):
            source = (
                f"<p>STAYS</p><div style='{outlook}'><b>{sender}:</b> Ann</div>GONE"
            )
            with self.subTest(sender):
                self.assertEqual(chatter_html.read(source, is_mail=True).text, _STAYS)
        quoted = "<p>STAYS</p><p>On Monday Ann wrote:</p><blockquote>GONE</blockquote>"
        self.assertEqual(chatter_html.read(quoted, is_mail=True).text, _STAYS)

    def test_what_is_cut_says_so_once(self):
        reading = chatter_html.read("<p>word</p>" * 100_000)

        self.assertTrue(reading.is_cut)
        self.assertTrue(reading.text.endswith("…"))
        self.assertEqual(reading.text.count("…"), 1)

    def test_blanks_of_the_source_are_not_blanks_of_the_text(self):
        reading = chatter_html.read("\n<p>\n  One\n  two </p>\n<p> three\xa0four</p>\n")

        self.assertEqual(reading.text, "One two\nthree four")

    def test_nested_lists_and_quotes_keep_their_margin(self):
        reading = chatter_html.read(
            "<ul><li>a<ol start='3'><li>b<br>c</li></ol></li></ul>"
            "<blockquote><p>d</p><ul><li>e</li></ul></blockquote>"
        )

        self.assertEqual(reading.text, "• a\n  3. b\n     c\n> d\n> • e")

    def test_tables_that_only_place_things_are_no_tables(self):
        reading = chatter_html.read(
            "<table role='presentation'><tr><td><p>One</p></td></tr>"
            "<tr><td><p>Two</p></td></tr></table>"
        )

        self.assertEqual(reading.text, "One\nTwo")
        self.assertNotIn("<table", reading.html)

    def test_a_link_shows_its_address_where_words_hide_it(self):
        for source, text in (
            (
                "<a href='https://x.example/a'><b>here</b></a>",
                "here (https://x.example/a)",
            ),
            ("<a href='https://x.example/'>https://x.example</a>", "https://x.example"),
            ("<a href='https://x.example'>x.example</a>", "x.example"),
            ("<a href='mailto:a@x.example'>write</a>", "write"),
        ):
            with self.subTest(source):
                self.assertEqual(chatter_html.read(source).text, text)
