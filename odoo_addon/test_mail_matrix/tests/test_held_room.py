from datetime import timedelta

from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestHeldRoom(TicketCase):
    """One room takes no messages while the others of the account do."""

    def setUp(self):
        super().setUp()
        self.as_user(self.ticket)._matrix_enqueue("manual", "One")
        self.ticket._matrix_enqueue("manual", "Two")
        self.worker_seen()

    def hold(self, retry_in=45, lane=None, head=None, **lane_values):
        """Do what the worker does when a message has failed twice and others pass."""
        head = head or self.outbox()[0]
        self.log(head, is_final=False, error_message="No answer")
        now = self.env.cr.now()
        values = {
            "lane": head["lane"],
            "head_id": head["id"],
            "attempts": 2,
            "first_failed_at": now - timedelta(minutes=10),
            "retry_at": retry_in and now + timedelta(seconds=retry_in),
            "lease_until": None,
            "last_error": "Bad gateway (M_UNKNOWN)",
            **lane_values,
        }
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, head_id, attempts, first_failed_at, "
            "retry_at, lease_until, last_error) VALUES (%(lane)s, %(head_id)s, "
            "%(attempts)s, %(first_failed_at)s, %(retry_at)s, %(lease_until)s, "
            "%(last_error)s)",
            values,
        )

    def overview(self, user=None):
        logs = self.env["matrix.log"].with_user(user or self.manager)
        return logs.get_overview()

    def troubles(self, record=None):
        return self.as_user(record or self.ticket).get_matrix_deliveries()["troubles"]

    def test_the_record_says_since_when_how_many_wait_and_when_the_next_try_is(self):
        self.assertEqual(self.troubles(), [])
        self.hold()

        (note,) = self.troubles()

        self.assertRegex(
            note,
            r"^This room has not answered since .+; 2 messages wait; "
            r"the next try is at \d\d?:\d\d( [AP]M)?\.$",
        )

    def test_a_record_whose_room_is_held_up_by_another_ones_message_says_so_too(self):
        other = self.ticket.create({"name": "Same room", "matrix_room_id": ROOM})
        elsewhere = self.ticket.create({"name": "B", "matrix_room_id": "!b:m.org"})
        self.hold()

        self.assertEqual(len(self.troubles(other)), 1)
        self.assertEqual(self.troubles(elsewhere), [])

    def test_a_room_that_is_being_tried_is_still_held_up(self):
        soon = self.env.cr.now() + timedelta(seconds=20)
        self.hold(retry_in=None, lease_until=soon)

        self.assertIn("it is being tried again.", self.troubles()[0])

    def test_one_message_is_counted_as_one(self):
        self.env.cr.execute(
            "DELETE FROM matrix_outbox WHERE id = %s", [self.outbox()[1]["id"]]
        )
        self.hold()

        self.assertIn("; one message waits; ", self.troubles()[0])

    def test_a_room_that_is_no_longer_held_up_is_not_listed(self):
        self.hold()
        self.log(self.outbox()[0], status="ok")

        self.assertEqual(self.troubles(), [])
        self.assertEqual(self.overview()["held"], [])

    def test_a_backend_that_cannot_send_is_listed_instead_of_its_rooms(self):
        self.hold()
        for state in ("down", "unauthorized", "misconfigured", "paused"):
            self.backend_state(state)
            self.assertEqual(self.troubles(), [], state)
            self.assertEqual(self.overview()["held"], [], state)
        self.backend_state("rate_limited")
        self.assertEqual(len(self.troubles()), 1)

    def test_a_room_that_only_waits_for_its_turn_after_an_outage_is_not_listed(self):
        self.hold(retry_in=None)

        self.assertEqual(self.troubles(), [])

    def test_the_overview_names_the_record_the_state_and_the_error(self):
        self.hold()

        (held,) = self.overview()["held"]

        self.assertEqual(held["name"], self.ticket.display_name)
        self.assertEqual((held["res_model"], held["res_id"]), self.key_of(self.ticket))
        self.assertIn("This room has not answered since", held["note"])
        self.assertEqual(held["error"], "Bad gateway (M_UNKNOWN)")
        self.assertIs(self.overview(self.user)["held"], False)

    def key_of(self, record):
        return record._name, record.id

    def test_the_overview_names_no_record_that_the_manager_may_not_read(self):
        self.hold()
        self.backend.company_id = self.env.company
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.ticket.sudo().company_id = company

        (held,) = self.overview()["held"]

        self.assertEqual(held["name"], ROOM)
        self.assertFalse(held["res_id"])

    def test_the_overview_shows_the_longest_ones_and_counts_the_others(self):
        self.clear_outbox()
        for number in range(7):
            self.enqueue(room_id=f"!{number}:example.org")
        for number, row in enumerate(self.outbox()):
            at = self.env.cr.now() - timedelta(minutes=number)
            self.hold(head=row, first_failed_at=at)

        overview = self.overview()

        names = [held["name"] for held in overview["held"]]
        self.assertEqual(names, [f"!{n}:example.org" for n in (6, 5, 4, 3, 2)])
        self.assertEqual(overview["held_beyond"], 2)

    def test_another_companys_rooms_are_not_shown(self):
        self.hold()
        self.backend.company_id = self.env["res.company"].create({"name": "Elsewhere"})

        overview = self.overview()

        self.assertEqual((overview["held"], overview["held_beyond"]), ([], 0))

    def test_a_person_who_cannot_be_reached_is_not_called_a_room(self):
        contact = self.env["matrix.contact"].create(
            {"backend_id": self.backend.id, "matrix_user_id": "@ida:example.org"}
        )
        contact.with_user(self.user)._enqueue_direct("Hello")
        self.hold(head=self.outbox()[-1])

        (note,) = contact.with_user(self.user).get_matrix_deliveries()["troubles"]

        self.assertIn("No message has reached this person since", note)

    def test_many_held_rooms_cost_no_more_queries_than_few(self):
        self.clear_outbox()
        for number in range(30):
            self.enqueue(room_id=f"!{number}:example.org")
        rows = self.outbox()
        lanes = self.env["matrix.lane"]
        self.hold(head=rows[0])

        def queries():
            before = self.env.cr.sql_log_count
            found, _count = lanes._held_in(self.backend, 100)
            return len(found), self.env.cr.sql_log_count - before

        lanes._held_in(self.backend, 100)
        self.assertEqual(queries(), (1, 1))
        for row in rows[1:]:
            self.hold(head=row)
        self.assertEqual(queries(), (30, 1))
