from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools.times import date_time_text

from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestFailureNotice(LegalMatrixCase):
    """Who caused a message hears that it failed, and sends it again on the case."""

    def send_in_vain(self, text="Please come", user=None):
        self.case.with_user(user or self.lawyer)._matrix_enqueue("manual", text)
        return self.log(self.outbox()[-1], error_message="Not in this room")

    def tell(self):
        self.env["matrix.failure.notice"]._cron_report()
        return self.activities()

    def activities(self):
        self.env.invalidate_all()
        return self.case.sudo().activity_ids

    def inbox(self):
        partner = self.lawyer.partner_id
        about = [("res_id", "=", self.case.id), ("model", "=", self.case._name)]
        return self.env["mail.message"].search(
            [*about, ("notified_partner_ids", "in", partner.ids)]
        )

    def test_an_activity_says_what_failed_once(self):
        log = self.send_in_vain()
        activity = self.tell()

        self.assertEqual(activity.user_id, self.lawyer)
        self.assertEqual(activity.summary, "A message was not sent to Matrix")
        time = date_time_text(self.env, log.date, self.lawyer.tz)
        self.assertIn(f"Failed on {time}. The page Matrix of the", activity.note)
        self.send_in_vain("And again")
        self.assertEqual(self.tell(), activity)
        self.assertEqual(self.env["matrix.failure.notice"]._read_unreported(), [])
        self.assertFalse(self.inbox())

    def test_an_activity_has_no_text_and_no_reason(self):
        """Who reads the case reads it, in a Matrix group or not."""
        self.send_in_vain("Please come")
        self.send_in_vain("And again")
        activity = self.tell()

        self.assertEqual(activity.summary, "2 messages not sent to Matrix")
        shown = f"{activity.summary} {activity.note}"
        for secret in ("Please come", "And again", "Not in this room"):
            self.assertNotIn(secret, shown)

    def test_who_prefers_it_gets_a_notification_or_nothing(self):
        self.lawyer.with_user(self.lawyer).matrix_failure_notice = "notification"
        self.send_in_vain()
        self.assertFalse(self.tell())
        self.assertIn("Not in this room", self.inbox().body)

        self.lawyer.matrix_failure_notice = "none"
        self.send_in_vain()
        self.tell()
        self.assertEqual(len(self.inbox()), 1)

    def test_nothing_is_reported_about_what_has_not_failed(self):
        log = self.send_in_vain()
        self.case.with_user(self.lawyer)._matrix_enqueue("manual", "Held")
        self.log(self.outbox()[-1], is_final=False)
        self.env["matrix.outbox"].search([]).with_user(self.manager).action_discard()
        log.with_user(self.manager).action_retry()

        self.assertFalse(self.tell())

    def test_who_may_not_read_the_case_any_more_is_sent_nothing(self):
        self.send_in_vain()
        branch = self.env["res.company"].create({"name": "Branch"})
        self.case.sudo().write({"company_id": branch.id, "user_id": False})
        self.commit()

        self.assertFalse(self.tell())
        self.assertFalse(self.inbox())

    def test_the_activity_goes_when_all_is_queued_again(self):
        first, second = self.send_in_vain("One"), self.send_in_vain("Two")
        self.assertTrue(self.tell())
        case = self.case.with_user(self.lawyer)
        rows = {row["text"]: row for row in case.get_matrix_deliveries()["rows"]}
        self.assertTrue(rows["One"]["can_retry"])

        case.action_matrix_retry(first.id)
        self.assertTrue(self.activities())
        case.action_matrix_retry(second.id)
        self.assertFalse(self.activities())
        self.assertEqual(self.bodies(), ["One", "Two"])
        # The lines of what waits again have replaced those of what had failed.
        rows = {row["key"]: row for row in case.get_matrix_deliveries()["rows"]}
        self.assertNotIn(f"log-{first.id}", rows)
        self.assertEqual(len(rows), 2)
        with self.assertRaises(UserError):
            case.action_matrix_retry(first.id)

    def test_only_failed_messages_of_the_case_are_retried_by_who_may_write_it(self):
        other = self.create_case(name="Other")
        self.settle()
        log = self.send_in_vain()
        with self.assertRaises(UserError):
            other.action_matrix_retry(log.id)
        reader = self.make_user("reader", "mail_matrix.group_matrix_user")
        with self.assertRaises(AccessError):
            self.case.with_user(reader).action_matrix_retry(log.id)
        with self.assertRaises(AccessError):
            log.with_user(self.lawyer).action_retry()
