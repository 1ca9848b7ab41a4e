from unittest.mock import patch

from odoo.exceptions import AccessError
from odoo.tests import tagged

from odoo.addons.mail_matrix.models.matrix_draft import _KEPT_DAYS

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestDraft(TicketCase):
    """What a person has begun to write is hers alone."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        colleague = cls.make_user("colleague", "mail_matrix.group_matrix_user")
        cls.mine = cls.ticket.with_user(cls.user)
        cls.theirs = cls.ticket.with_user(colleague)

    def test_a_colleague_sees_no_draft_and_sends_none(self):
        self.mine.matrix_message = "Half a thought"

        self.assertEqual(self.mine.matrix_message, "Half a thought")
        self.assertFalse(self.theirs.matrix_message)
        self.theirs.matrix_message = "Ready"
        self.theirs.action_matrix_send_message()

        self.assertEqual(self.bodies(), ["Ready"])
        self.assertFalse(self.theirs.matrix_message)
        self.assertEqual(self.mine.matrix_message, "Half a thought")

    def test_a_draft_is_found_again_and_replaced(self):
        self.mine.matrix_message = "One"
        self.env.invalidate_all()
        self.assertEqual(self.mine.matrix_message, "One")
        self.mine.matrix_message = "Two"
        self.env.invalidate_all()
        self.assertEqual(self.mine.matrix_message, "Two")
        self.assertFalse(self.ticket.copy().with_user(self.user).matrix_message)

    def test_two_windows_save_at_once(self):
        """Neither transaction sees the draft of the other one."""
        tickets = type(self.ticket)
        with patch.object(tickets, "_matrix_drafts", self.none_of):
            for text in ("One", "Two"):
                self.mine.matrix_message = text
                self.env.flush_all()
        self.env.invalidate_all()

        self.assertEqual(self.mine.matrix_message, "Two")

    @staticmethod
    def none_of(tickets):
        return tickets.env["matrix.draft"].sudo()

    def test_nobody_reads_drafts_by_themselves(self):
        self.mine.matrix_message = "Half a thought"
        for user in (self.user, self.manager):
            with self.assertRaises(AccessError):
                self.env["matrix.draft"].with_user(user).search([])

    def test_old_drafts_go(self):
        self.mine.matrix_message = "Half a thought"
        self.env.flush_all()
        self.env["matrix.draft"]._gc_drafts()
        self.env.invalidate_all()
        self.assertTrue(self.mine.matrix_message)
        self.env.cr.execute(
            "UPDATE matrix_draft SET written_at = written_at - %s * interval '1 day'",
            [_KEPT_DAYS + 1],
        )

        self.env["matrix.draft"]._gc_drafts()

        self.env.invalidate_all()
        self.assertFalse(self.mine.matrix_message)

    def test_the_writer_is_named_where_the_backend_says_so(self):
        self.user.name = "Dr. Amy Writer"
        self.mine._matrix_enqueue("manual", "Hello")
        self.backend.sign_messages = True
        self.mine._matrix_enqueue("manual", "Hello again")

        self.assertEqual(self.bodies(), ["Hello", "Dr. Amy Writer: Hello again"])
