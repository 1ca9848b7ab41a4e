from datetime import timedelta

from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import TOKEN, Homeserver

from .inbound import ANNA, InboundCase

URI = "mxc://example.org/abc"
PATH = "/_matrix/client/v1/media/download/example.org/abc"
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n\x00\xff"


@tagged("post_install", "-at_install")
class TestInboundFiles(InboundCase):
    """Files of a room are attached to their note, bounded in size and kind."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.serve_files()

    def setUp(self):
        super().setUp()
        self.homeserver.answers["GET", PATH] = (200, PDF)
        self.homeserver.tokens.clear()

    def sent(self, name="offer.pdf", msgtype="m.file", **content):
        content = {"msgtype": msgtype, "body": name, "url": URI, **content}
        return self.event(content)

    def take(self, *events):
        """Take over ``events``, fetch what waits, and return the notes."""
        notes = self.ingest(*events)
        self.fetch()
        return notes

    def fetch(self):
        self.env["matrix.inbound"]._cron_fetch_files()
        self.env.invalidate_all()

    def rows(self):
        return self.env["matrix.inbound"].search([("file_uri", "!=", False)])

    def test_a_file_is_attached_to_its_note_byte_for_byte(self):
        self.user.sudo().matrix_user_id = ANNA

        note = self.take(self.sent(info={"size": len(PDF), "mimetype": "text/html"}))

        self.assertIn("📎 offer.pdf", note.body)
        attachment = note.attachment_ids
        self.assertEqual((attachment.name, attachment.raw), ("offer.pdf", PDF))
        self.assertEqual(attachment.mimetype, "application/pdf")
        self.assertEqual(attachment.create_uid, self.user)
        self.assertEqual(
            (attachment.res_model, attachment.res_id),
            (self.ticket._name, self.ticket.id),
        )
        self.assertEqual(self.homeserver.tokens, [TOKEN])
        self.assertEqual(self.rows().file_state, "attached")
        self.assertFalse(self.outbox())

    def test_it_is_attached_once(self):
        event = self.sent()

        note = self.take(event, event)
        self.fetch()

        self.assertEqual(len(note.attachment_ids), 1)
        self.assertEqual(len(self.homeserver.tokens), 1)

    def test_a_caption_is_the_text_of_the_note(self):
        note = self.take(self.sent("Here <it> is", filename="offer.pdf"))

        self.assertIn("Here &lt;it&gt; is", note.body)
        self.assertEqual(note.attachment_ids.name, "offer.pdf")

    def test_several_files_come_one_after_the_other(self):
        notes = self.take(self.sent("a.pdf"), self.sent("b.pdf"))
        self.assertEqual(notes.mapped("attachment_ids.name"), ["a.pdf"])

        self.fetch()

        self.assertEqual(notes.mapped("attachment_ids.name"), ["a.pdf", "b.pdf"])

    def test_what_a_browser_would_run_does_not_come_in(self):
        for content in (
            b"<html><script>alert(1)</script></html>",
            b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
            b"MZ\x90\x00\x03",
            b"",
        ):
            with self.subTest(content):
                self.homeserver.answers["GET", PATH] = (200, content)
                note = self.take(self.sent("photo.png", "m.image"))[-1]
                self.assertFalse(note.attachment_ids)
                self.assertEqual(self.rows()[0].file_state, "refused")
                self.assertIn("📎 photo.png", note.body)

    def test_no_larger_file_comes_in_than_the_backend_says(self):
        self.backend.inbound_file_mb = 1
        note = self.take(self.sent(info={"size": 2**20 + 1}))
        self.assertFalse(self.homeserver.tokens, "it was not even asked for")
        self.assertIn("1", self.rows().file_note)

        # The sender may say anything.
        self.homeserver.answers["GET", PATH] = (200, PDF + bytes(2**20))
        notes = self.take(self.sent(info={"size": 5}))

        self.assertFalse((note | notes).attachment_ids)
        self.assertEqual(self.rows().mapped("file_state"), ["refused", "refused"])

    def test_none_comes_in_where_they_are_turned_off(self):
        self.backend.inbound_file_mb = 0

        note = self.take(self.sent())

        self.assertFalse(note.attachment_ids)
        self.assertFalse(self.homeserver.tokens)

    def test_a_file_that_is_not_there_is_not_asked_for_again(self):
        self.homeserver.answers.pop(("GET", PATH))

        self.take(self.sent())

        self.assertEqual(self.rows().file_state, "refused")

    def test_a_homeserver_that_is_away_is_asked_again_for_a_day(self):
        away = (503, {"errcode": "M_UNKNOWN", "error": "away"})
        self.homeserver.answers["GET", PATH] = away
        note = self.take(self.sent())
        row = self.rows()
        self.assertEqual(row.file_state, "waiting")
        self.assertGreater(row.file_try_at, self.env.cr.now())

        row.file_try_at = self.env.cr.now()
        self.homeserver.answers["GET", PATH] = (200, PDF)
        self.fetch()
        self.assertEqual(note.attachment_ids.raw, PDF)

        self.homeserver.answers["GET", PATH] = away
        self.ingest(self.sent())
        row = self.rows()[0]
        row.received_at -= timedelta(days=2)
        self.fetch()
        self.assertEqual(row.file_state, "refused")

    def test_a_homeserver_that_is_away_holds_up_no_other(self):
        away = Homeserver()
        self.addCleanup(away.stop)
        away.answers["GET", PATH] = (503, {"errcode": "M_UNKNOWN", "error": "away"})
        branch = self.env["matrix.backend"].create(
            {
                "name": "Branch",
                "homeserver_url": away.url,
                "personal_access_token": TOKEN,
                "is_active": False,
            }
        )
        note = self.ingest(*(self.sent(f"{number}.pdf") for number in range(4)))[-1]
        theirs = self.rows().sorted("id")[:3]
        theirs.backend_id = branch

        self.fetch()
        self.fetch()

        self.assertEqual(note.attachment_ids.name, "3.pdf")
        self.assertEqual(len(away.asked("GET", PATH)), 1)
        now = self.env.cr.now()
        self.assertTrue(all(row.file_try_at > now for row in theirs))

        theirs.file_try_at = now
        away.answers["GET", PATH] = (200, PDF)
        for _file in theirs:
            self.fetch()
        self.assertEqual(set(theirs.mapped("file_state")), {"attached"})

    def test_who_has_waited_longest_comes_first(self):
        notes = self.ingest(self.sent("a.pdf"), self.sent("b.pdf"))
        self.rows().sorted("id")[1].file_try_at -= timedelta(minutes=1)

        self.fetch()

        self.assertEqual(notes.mapped("attachment_ids.name"), ["b.pdf"])

    def test_a_file_that_is_deleted_in_the_room_goes_or_never_comes(self):
        first, second = self.sent("a.pdf"), self.sent("b.pdf")
        notes = self.take(first)
        attachment = notes.attachment_ids

        self.ingest(self.redaction_of(first), second, self.redaction_of(second))
        self.fetch()

        self.assertFalse(attachment.exists())
        self.assertEqual(len(self.homeserver.tokens), 1)

    def test_what_is_not_the_address_of_a_file_becomes_no_note(self):
        for uri in (None, 5, "https://example.org/x", "mxc://", "mxc://a/b/c", ["x"]):
            self.assertFalse(self.ingest(self.sent(url=uri)), uri)

    def test_a_hostile_name_is_a_plain_one(self):
        note = self.take(self.sent("../../etc/\x00pass\u202ewd\n.pdf", filename=5))

        self.assertEqual(note.attachment_ids.name, ".. .. etc pass wd .pdf")
