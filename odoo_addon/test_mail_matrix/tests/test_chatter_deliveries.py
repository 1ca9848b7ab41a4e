from .common import TicketCase


class TestChatterDeliveries(TicketCase):
    """A message of the chatter shows what became of it in the room."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ticket.matrix_mirror_chatter = True
        cls.commit()
        cls.clear_outbox()

    def post(self, user=None, **values):
        ticket = self.ticket.with_user(user or self.user)
        message = ticket.message_post(
            body="To the room",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            **values,
        )
        self.commit()
        return message

    def show(self):
        self.env["matrix.mirror"]._cron_show_deliveries()

    def shown(self, message):
        """Return what the chatter shows, as (status, reason)."""
        notes = message.sudo().notification_ids
        notes = notes.filtered(lambda note: note.notification_type == "matrix")
        return [(note.notification_status, note.failure_reason) for note in notes]

    def test_it_waits_and_is_sent(self):
        message = self.post()
        self.show()
        self.assertEqual(self.shown(message), [("ready", False)])

        self.log(self.outbox()[0], status="ok")
        self.show()
        self.assertEqual(self.shown(message), [("sent", False)])

    def test_a_failure_is_the_author_s_and_says_why(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")

        self.show()

        self.assertEqual(self.shown(message), [("exception", "Not in this room")])
        note = message.sudo().notification_ids
        self.assertEqual(note.author_id, self.user.partner_id)
        self.assertTrue(self.ticket.with_user(self.user).message_has_error)

    def test_a_failure_that_was_queued_again_waits_again(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        log = self.env["matrix.log"].search([], limit=1)
        log.with_user(self.manager).action_retry()
        self.commit()
        self.show()
        self.assertEqual(self.shown(message), [("ready", False)])

        self.log(self.outbox()[0], status="ok")
        self.show()
        self.assertEqual(self.shown(message), [("sent", False)])

    def test_what_is_settled_is_not_looked_at_again(self):
        self.post()
        self.log(self.outbox()[0], status="ok")
        self.show()

        self.assertFalse(self.env["matrix.mirror"]._changed_deliveries(10))

    def test_what_waits_long_does_not_hide_what_is_done(self):
        waiting, done = self.post(), self.post()
        self.show()
        self.log(self.outbox()[1], status="ok")

        changed = self.env["matrix.mirror"]._changed_deliveries(1)

        self.assertEqual(changed.message_id, done.id)
        self.assertEqual(self.shown(waiting), [("ready", False)])

    def test_a_message_that_is_gone_is_left_alone(self):
        message = self.post()
        self.log(self.outbox()[0], status="ok")
        message.sudo().unlink()
        self.commit()

        self.show()

        self.assertFalse(self.env["matrix.mirror"]._changed_deliveries(10))

    def test_it_leads_to_the_deliveries_and_others_read_the_reason(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        action = message.with_user(self.user).action_matrix_deliveries()
        found = self.env[action["res_model"]].search(action["domain"])
        self.assertEqual(found.error_message, "Not in this room")

        colleague = self.make_user("colleague", "base.group_user")
        self.ticket.message_subscribe(colleague.partner_id.ids)
        action = message.with_user(colleague).action_matrix_deliveries()
        self.assertEqual(action["params"]["message"], "Not in this room")

    def test_who_has_seen_it_dismisses_it(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        self.ticket.with_user(self.user).notify_cancel_by_type("matrix")

        self.env.invalidate_all()
        self.assertEqual([status for status, _ in self.shown(message)], ["canceled"])
