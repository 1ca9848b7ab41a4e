from contextlib import contextmanager
from unittest.mock import patch

from odoo.addons.mail_matrix.tests.common import MatrixCase

ROOM = "!ticket:example.org"


class TicketCase(MatrixCase):
    """A ticket with a room, written by a plain Matrix user."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tickets = cls.env["test.matrix.ticket"]
        values = {"name": "Leaking tap", "matrix_room_id": ROOM}
        cls.ticket = cls.as_user(tickets).create(values).with_env(cls.env)
        cls.commit()
        cls.clear_outbox()

    @classmethod
    def as_user(cls, records):
        return records.with_user(cls.user)

    @contextmanager
    def echoing(self, render):
        """Let a text that reads ``echo`` run ``render(ticket)`` and show its result."""

        def compute(tickets):
            for ticket in tickets:
                ticket.echo = render(ticket)

        with patch.object(type(self.ticket), "_compute_echo", compute):
            yield
