from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestDiscard(TicketCase):
    """Waiting messages that a manager deletes."""

    def test_a_discarded_message_is_deleted_and_logged(self):
        self.ticket._matrix_enqueue("manual", "Hello")
        self.env["matrix.outbox"].search([]).with_user(self.manager).action_discard()

        self.assertEqual(self.outbox(), [])
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.discarded")
        self.assertIn("matrix-manager", failure["error_message"])
        self.assertEqual(failure["payload"], "Hello")
        self.assertTrue(failure["is_final"])
        log = self.env["matrix.log"].browse(failure["id"]).with_user(self.manager)
        log.action_retry()
        self.assertEqual(self.bodies(), ["Hello"])

    def test_what_a_worker_has_leased_is_not_discarded(self):
        self.ticket._matrix_enqueue("manual", "Being sent")
        lane = self.outbox()[0]["lane"]
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, owner, lease_until) "
            "VALUES (%s, 'w', now() AT TIME ZONE 'UTC' + interval '30 s')",
            [lane],
        )
        waiting = self.env["matrix.outbox"].search([]).with_user(self.manager)
        with self.assertRaisesRegex(UserError, "right now"):
            waiting.action_discard()
        self.assertEqual(self.bodies(), ["Being sent"])

        self.ticket.matrix_room_id = "!free"
        self.ticket._matrix_enqueue("manual", "Free")
        waiting = self.env["matrix.outbox"].search([]).with_user(self.manager)
        waiting.action_discard()
        self.assertEqual(self.bodies(), ["Being sent"])

    def test_a_worker_that_comes_back_late_is_fenced_by_a_discard(self):
        self.ticket._matrix_enqueue("manual", "In doubt")
        lane = self.outbox()[0]["lane"]
        self.env.cr.execute(
            """
            UPDATE matrix_outbox SET queued_at = queued_at - interval '1 min';
            INSERT INTO matrix_lane (lane, owner, epoch, lease_until)
            VALUES (%s, 'w', 7, now() AT TIME ZONE 'UTC' - interval '1 s')
            """,
            [lane],
        )

        self.env["matrix.outbox"].search([]).with_user(self.manager).action_discard()

        self.env.cr.execute("SELECT epoch, lease_until FROM matrix_lane")
        self.assertEqual(self.env.cr.fetchall(), [(8, None)])
        (failure,) = self.failures()
        self.assertIn(
            "check in the room whether the message arrived", failure["error_message"]
        )

    def test_waiting_rooms_show_how_much_waits_and_how_far_the_worker_is(self):
        self.ticket._matrix_enqueue("manual", "One")
        self.ticket._matrix_enqueue("manual", "Two")
        lanes = self.env["matrix.lane"].with_user(self.manager)

        lane = lanes.search([])
        self.assertEqual((lane.target, lane.waiting, lane.leased), (ROOM, 2, False))
        self.assertEqual(lane.backend_id, self.backend)

        lane.action_discard()
        self.assertEqual(self.outbox(), [])
        self.assertFalse(lanes.search([]))
