from unittest.mock import patch

from psycopg2 import errorcodes, errors

from odoo.exceptions import AccessError, UserError

from .common import TicketCase

_LOGGER = "odoo.addons.mail_matrix.models.matrix_mirror.deliveries"


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

    def test_what_was_posted_before_the_upgrade_is_not_shown(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.env.cr.execute("UPDATE matrix_mirror SET delivery = NULL")

        # As the upgrade does that adds the column.
        self.env["matrix.mirror"]._init_column("delivery")
        self.env.invalidate_all()
        self.show()

        self.assertEqual(self.shown(message), [])

    def failing_for(self, bad, sqlstate):
        """Let the database refuse to show the message ``bad``."""
        refusal = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$"
        messages = self.env.registry["mail.message"]
        show = messages._matrix_show_delivery

        def fail(message, status, reason):
            shown = show(message, status, reason)
            if message == bad:
                message.env.cr.execute(refusal, log_exceptions=False)
            return shown

        return patch.object(messages, "_matrix_show_delivery", fail)

    def test_a_message_that_cannot_be_shown_does_not_stop_the_others(self):
        first, bad, last = (self.post() for _number in range(3))
        with (
            self.failing_for(bad, errorcodes.CHECK_VIOLATION),
            self.assertLogs(_LOGGER, "ERROR") as logged,
        ):
            self.show()

        self.assertIn(f"mail.message,{bad.id}", logged.output[0])
        self.assertEqual(self.shown(first), [("ready", False)])
        self.assertEqual(self.shown(bad), [])
        self.assertEqual(self.shown(last), [("ready", False)])
        self.log_all()
        changed = self.env["matrix.mirror"]._changed_deliveries(10)
        self.assertEqual(set(changed.mapped("message_id")), {first.id, last.id})

    def test_what_odoo_runs_again_is_not_given_up(self):
        message = self.post()
        with (
            self.failing_for(message, errorcodes.SERIALIZATION_FAILURE),
            self.assertRaises(errors.SerializationFailure),
        ):
            self.show()

    def opened(self, message):
        """Return the dialog that a click on the message's red line opens."""
        self.env.invalidate_all()
        action = message.with_user(self.user).action_matrix_deliveries()
        dialogs = self.env[action["res_model"]].with_user(self.user)
        return dialogs.with_context(**action["context"]).create({})

    def test_it_leads_to_what_failed_where_it_is_sent_again(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        dialog = self.opened(message)
        self.assertEqual(dialog.log_ids.mapped("error_message"), ["Not in this room"])
        self.assertTrue(dialog.can_retry)
        dialog.action_retry()

        self.assertEqual(self.shown(message), [("ready", False)], "At once")
        self.assertEqual(len(self.outbox()), 1)
        self.log(self.outbox()[0], error_message="Still not in this room")
        self.show()
        dialog = self.opened(message)
        reasons = dialog.log_ids.mapped("error_message")
        self.assertEqual(reasons, ["Still not in this room"])

    def test_what_was_sent_again_meanwhile_has_nothing_to_retry(self):
        message = self.post()
        log = self.log(self.outbox()[0], error_message="Not in this room")
        self.show()
        dialog = self.opened(message)
        log.with_user(self.manager).action_retry()
        self.commit()
        self.env.invalidate_all()

        with self.assertRaisesRegex(UserError, "Already queued, or sent since"):
            dialog.action_retry()

        self.assertEqual(len(self.outbox()), 1)

    def test_only_who_may_write_the_record_sends_it_again(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()
        tickets = self.env.ref("test_mail_matrix.test_matrix_ticket_access_user")
        tickets.perm_write = False
        self.env.registry.clear_cache()

        dialog = self.opened(message)

        self.assertFalse(dialog.can_retry)
        with self.assertRaises(AccessError):
            dialog.action_retry()

    def test_outside_the_groups_its_author_reads_the_reason(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        groups = {self.groups_field(): [(6, 0, [self.env.ref("base.group_user").id])]}
        self.user.write(groups)
        action = message.with_user(self.user).action_matrix_deliveries()
        self.assertEqual(action["params"]["message"], "Not in this room")

    def test_others_do_not_read_the_reason(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()
        for group in ("base.group_user", "base.group_portal"):
            other = self.make_user(f"other-{group}", group)
            message.sudo().partner_ids += other.partner_id
            theirs = message.with_user(other)
            theirs.check_access("read")
            with self.subTest(group), self.assertRaises(AccessError):
                theirs.action_matrix_deliveries()

    def test_a_share_user_reads_no_reason_of_an_own_message(self):
        portal = self.make_user("portal-author", "base.group_portal")
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()
        message.sudo().author_id = portal.partner_id
        theirs = message.with_user(portal)
        theirs.check_access("read")
        with self.assertRaises(AccessError):
            theirs.action_matrix_deliveries()

    def test_a_failure_of_another_kind_is_not_read_here(self):
        message = self.post()
        self.env["mail.notification"].create(
            {
                "mail_message_id": message.id,
                "notification_type": "email",
                "notification_status": "exception",
                "failure_reason": "Mailbox full",
                "res_partner_id": self.manager.partner_id.id,
            }
        )
        groups = {self.groups_field(): [(6, 0, [self.env.ref("base.group_user").id])]}
        self.user.write(groups)
        action = message.with_user(self.user).action_matrix_deliveries()
        self.assertEqual(action["params"]["message"], "")

    def test_who_has_seen_it_dismisses_it(self):
        message = self.post()
        self.log(self.outbox()[0], error_message="Not in this room")
        self.show()

        self.ticket.with_user(self.user).notify_cancel_by_type("matrix")

        self.env.invalidate_all()
        self.assertEqual([status for status, _ in self.shown(message)], ["canceled"])
