from markupsafe import Markup

from odoo.tests import tagged

from .common import TicketCase

_URL = "https://odoo.example.org"


@tagged("post_install", "-at_install")
class TestChatterHtml(TicketCase):
    """What a room reads of what people write in the chatter."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ticket.matrix_mirror_chatter = True
        cls.user.name = "Ann"
        cls.env["ir.config_parameter"].set_param("web.base.url", _URL)

    def post(self, body, **values):
        """Return the content that the room gets for a message."""
        self.clear_outbox()
        values = {
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_comment",
            **values,
        }
        self.as_user(self.ticket).message_post(body=Markup(body), **values)
        self.commit()
        return self.outbox()[0]["content"]

    def mail(self, body, **values):
        return self.post(
            body,
            message_type="email",
            author_id=values.pop("author_id", False),
            email_from="jane@client.example.com",
            **values,
        )

    def test_paragraphs_lists_tables_and_code_are_lines(self):
        content = self.post(
            "<p>One <b>bold</b> word</p><ul><li>first</li><li><p>second</p></li></ul>"
            "<ol><li>a</li></ol>"
            "<table><tr><td>x</td><td>y</td></tr><tr><td>1</td><td>2</td></tr></table>"
            "<pre>if a:\n    b</pre>"
        )

        self.assertEqual(
            content["body"],
            "Ann: One bold word\n• first\n• second\n1. a\nx | y\n1 | 2\nif a:\n    b",
        )
        html = content["formatted_body"]
        self.assertTrue(html.startswith("Ann: One <b>bold</b> word<ul><li>first"), html)
        self.assertIn("<pre>if a:\n    b</pre>", html)

    def test_no_image_and_no_access_token_is_sent(self):
        content = self.post(
            '<p>See <img src="/web/image/7?access_token=s3cret" alt="logo.png"></p>'
            '<p><a href="/mail/view?model=a&amp;access_token=s3cret">here</a> or '
            "https://odoo.example.org/web/content/7?access_token=s3cret</p>"
            '<p><img src="/web/image/8" alt="Plan of the bathroom"></p>'
        )

        self.assertNotIn("s3cret", str(content))
        self.assertNotIn("access_token", str(content))
        self.assertNotIn("<img", content["formatted_body"])
        self.assertNotIn("None", content["body"])
        self.assertEqual(content["body"], "Ann: See\nhere or …\n[Plan of the bathroom]")

    def test_relative_links_lead_to_odoo(self):
        content = self.post('<p><a href="/odoo/tickets/7"><b>the</b> ticket</a></p>')

        self.assertIn(f'<a href="{_URL}/odoo/tickets/7">', content["formatted_body"])
        self.assertEqual(content["body"], f"Ann: the ticket ({_URL}/odoo/tickets/7)")

    def test_whom_the_author_mentions_is_mentioned_in_matrix(self):
        bob = self.make_user("bob", "base.group_user", name="Bob")
        bob.matrix_user_id = "@bob:example.org"
        carol = self.make_user("carol", "base.group_user", name="Carol")
        link = (
            '<a href="%s/web#model=res.partner&amp;id=%s" class="o_mail_redirect" '
            'data-oe-id="%s" data-oe-model="res.partner">@%s</a>'
        )
        people = [
            link % (_URL, user.partner_id.id, user.partner_id.id, user.name)
            for user in (bob, carol)
        ]
        partners = (bob + carol).partner_id.ids

        content = self.post(f"<p>{' and '.join(people)}?</p>", partner_ids=partners)

        self.assertEqual(content["body"], "Ann: @Bob and @Carol?")
        self.assertEqual(content["m.mentions"], {"user_ids": ["@bob:example.org"]})
        self.assertIn(
            '<a href="https://matrix.to/#/@bob:example.org">@Bob</a> and @Carol?',
            content["formatted_body"],
        )
        # Such a link in a mail mentions nobody.
        content = self.mail(f"<p>{people[0]}?</p>", partner_ids=partners)
        self.assertEqual(content["m.mentions"], {})

    def test_an_answer_by_mail_comes_without_history_and_signature(self):
        for history in (
            '<div class="gmail_quote"><div class="gmail_attr">On Monday Ann wrote:'
            '</div><blockquote class="gmail_quote">OLD</blockquote></div>',
            '<div class="moz-cite-prefix">On Monday Ann wrote:</div>'
            '<blockquote type="cite"><p>OLD</p></blockquote>',
            '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg">From: Ann</div>'
            "<div>OLD</div>",
            '<div style="border:none;border-top:solid #E1E1E1 1.0pt"><p><b>Von:</b> '
            "Ann</p></div><p>OLD</p>",
            '<div class="gmail_signature">OLD</div>',
            '<div data-o-mail-quote="1">OLD</div>',
        ):
            with self.subTest(history):
                content = self.mail(f"<div>Yes, <b>Friday</b>.</div>{history}")
                self.assertEqual(content["body"], "Unknown sender: Yes, Friday.")
                self.assertNotIn("OLD", content["formatted_body"])

    def test_a_mail_in_plain_text_comes_without_history(self):
        content = self.mail(
            "<pre>Yes.\n\nOn Monday Ann wrote:\n&gt; OLD\n&gt; OLD too\n</pre>"
        )

        self.assertEqual(content["body"], "Unknown sender: Yes.")

    def test_what_somebody_quotes_in_odoo_stays(self):
        content = self.post("<p>As the law says:</p><blockquote>No.</blockquote>")

        self.assertEqual(content["body"], "Ann: As the law says:\n> No.")

    def test_a_sender_has_a_name_and_never_an_address(self):
        nameless = self.env["res.partner"].create({"name": "jane@client.example.com"})
        for author_id, email_from, name in (
            (False, "jane@client.example.com", "Unknown sender"),
            (False, '"Doe, Jane" <jane@client.example.com>', "Doe, Jane"),
            (False, '"jane@client.example.com" <jane@client.example.com>', None),
            (nameless.id, "jane@client.example.com", "Unknown sender"),
            (nameless.id, "Jane <jane@client.example.com>", "Jane"),
        ):
            with self.subTest(email_from, author_id=author_id):
                content = self.post(
                    "<p>Hello</p>",
                    message_type="email",
                    author_id=author_id,
                    email_from=email_from,
                )
                expected = f"{name or 'Unknown sender'}: Hello"
                self.assertEqual(content["body"], expected)
                self.assertNotIn("client.example.com", str(content))

    def test_a_long_mail_is_cut_and_says_where_to_read_on(self):
        content = self.mail("<p>Word after word.</p>" * 2_000)

        self.assertLess(len(content["body"]), 10_000)
        url = f"{_URL}/mail/view?model=test.matrix.ticket&res_id={self.ticket.id}"
        self.assertTrue(content["body"].endswith(f"…\nRead on in Odoo: {url}"))
        self.assertIn(f"Read on in Odoo: {url}".replace("&", "&amp;"), str(content))

    def test_a_message_that_says_nothing_in_words_leads_to_odoo(self):
        content = self.post('<p><img src="/web/image/7"></p>')

        self.assertTrue(content["body"].startswith("Ann: Read on in Odoo: https://"))

    def test_the_text_of_a_message_is_not_a_template(self):
        content = self.post("<p>{{ object.secret }} and &lt;b&gt;</p>")

        self.assertEqual(content["body"], "Ann: {{ object.secret }} and <b>")
        self.assertIn("and &lt;b&gt;", content["formatted_body"])

    def test_a_message_that_is_deleted_in_its_own_transaction_is_not_posted(self):
        self.clear_outbox()
        message = self.as_user(self.ticket).message_post(
            body="Oops", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        message.sudo().unlink()
        self.commit()

        self.assertEqual(self.outbox(), [])
        self.assertEqual(self.failures(), [])
