from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestGroups(TicketCase):
    """Who may write the record but is not a Matrix User decides nothing in Matrix."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        employee = cls.make_user("employee", "base.group_user")
        cls.theirs = cls.ticket.with_user(employee)

    def test_an_employee_cannot_use_the_buttons(self):
        self.ticket.matrix_message = "Hello"
        self.ticket.matrix_room_alias = "#tap:example.org"
        self.commit()
        self.clear_outbox()
        for press in (
            self.theirs.action_matrix_send_test,
            self.theirs.action_matrix_send_message,
            self.theirs.action_matrix_compose,
            self.theirs.action_matrix_check_room,
            self.theirs.action_matrix_create_room,
            self.theirs.action_matrix_resolve_alias,
        ):
            with self.assertRaisesRegex(AccessError, "Matrix User"):
                press()
        self.assertEqual(self.outbox(), [])

    def test_an_employee_cannot_compose(self):
        values = {"res_model": self.ticket._name, "res_id": self.ticket.id}
        composer = self.env["matrix.composer"].create({**values, "body": "Hello"})

        with self.assertRaises(AccessError):
            composer.with_env(self.theirs.env).action_send()
        self.assertEqual(self.outbox(), [])

    def test_what_an_employee_does_is_posted_all_the_same(self):
        self.theirs.stage = "Done"
        self.commit()

        (row,) = self.outbox()
        self.assertEqual((row["event_type"], row["room_id"]), ("ticket_moved", ROOM))
        self.assertEqual(row["user_id"], self.theirs.env.uid)

    def test_a_matrix_user_can_use_the_buttons(self):
        self.as_user(self.ticket).action_matrix_send_test()

        self.assertEqual(self.bodies(), ["Hello from Odoo"])
