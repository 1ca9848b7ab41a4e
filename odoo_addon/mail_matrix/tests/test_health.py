from datetime import datetime, timedelta
from unittest.mock import patch

from odoo.exceptions import AccessError

from ..models.matrix_backend import health
from .common import MatrixCase


class TestHealth(MatrixCase):
    """What a manager sees of a backend that works, or does not."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clear_outbox()
        cls.env.cr.execute("DELETE FROM matrix_worker")
        cls.seen = cls.backend.with_user(cls.manager)

    def test_a_state_is_explained_in_plain_words(self):
        self.backend_state("down", reason="no answer within 10 s")

        self.assertEqual(self.seen.state, "down")
        self.assertEqual(
            self.seen.state_note,
            "No answer within 10 s. Messages wait. "
            "The worker tries again every minute.",
        )

    def test_nothing_is_said_about_what_works(self):
        self.backend_state("ok")

        self.assertEqual((self.seen.state, self.seen.state_note), ("ok", False))

    def test_an_unused_backend_is_neither_healthy_nor_in_trouble(self):
        self.assertEqual((self.seen.state, self.seen.state_note), (False, False))

    def test_a_backend_that_delivers_is_healthy(self):
        self.log_row(backend_id=self.backend.id)

        self.assertEqual((self.seen.state, self.seen.state_note), ("ok", False))

    def test_a_change_of_the_backend_ends_its_state(self):
        self.backend_state("unauthorized")
        self.backend.homeserver_url = "https://new.example.org"
        self.backend.flush_recordset()

        self.assertEqual(self.seen.state, False)

    def test_a_state_of_a_later_configuration_does_not_count_either(self):
        """Odoo's table was restored, the worker's was not: the worker sends."""
        self.backend_state(
            "unauthorized", config_version=self.backend.sudo().config_version + 1
        )

        self.assertEqual(self.seen.state, False)

    def test_a_change_does_not_end_an_operators_pause(self):
        self.backend_state("paused", reason="maintenance")
        self.backend.homeserver_url = "https://new.example.org"
        self.backend.flush_recordset()

        self.assertEqual(self.seen.state, "paused")

    def test_every_state_but_ok_is_explained(self):
        field = self.env["matrix.backend.status"]._fields["state"]
        for state in field.get_values(self.env):
            self.backend_state(state)
            self.backend.invalidate_recordset()

            self.assertEqual(bool(self.seen.state_note), state != "ok", state)

    def test_what_waits_is_counted_for_this_backend_alone(self):
        other = self.backend.copy()
        self.enqueue(2, queued_at="2026-01-01 08:00:00")
        self.enqueue(1, backend=other)

        self.assertEqual(self.seen.waiting_count, "2")
        self.assertEqual(self.seen.oldest_queued_at, datetime(2026, 1, 1, 8))

    def test_the_oldest_is_shown_by_its_age(self):
        self.assertFalse(self.seen.oldest_age)

        self.enqueue(queued_at=self.env.cr.now() - timedelta(hours=3))
        self.seen.invalidate_recordset()

        self.assertEqual(self.seen.oldest_age, "3 hours")

    def test_the_counts_are_those_of_the_overview_and_of_the_lists(self):
        now = self.env.cr.now()
        for status, is_final, hours in (
            ("ok", True, 1),
            ("ok", True, 25),
            ("failed", True, 1),
            ("failed", True, 2),
            ("failed", False, 3),
        ):
            self.log_row(
                backend_id=self.backend.id,
                status=status,
                is_final=is_final,
                date=now - timedelta(hours=hours),
            )

        overview = self.env["matrix.log"].with_user(self.manager).get_overview()

        self.assertEqual((self.seen.sent_count, self.seen.failed_count), (1, 2))
        self.assertEqual((overview["sent"], overview["failed"]), ("1", "2"))
        for action, outcome in (
            (self.seen.action_view_log(), "ok"),
            (self.seen.action_view_failed(), "failed"),
        ):
            self.assertEqual(
                action["context"],
                {f"search_default_{outcome}": 1, "search_default_last_day": 1},
            )

    def test_counting_ends_at_a_bound(self):
        self.enqueue(4)
        with patch.object(health, "COUNT_AT_MOST", 3):
            self.assertEqual(self.seen.waiting_count, "3+")

    def test_a_worker_is_missing_after_two_minutes(self):
        for ago, missing in (("1 minute", False), ("121 seconds", True)):
            self.worker_seen(ago)
            self.env.invalidate_all()

            self.assertIs(self.seen.worker_missing, missing)

    def test_one_worker_of_several_is_enough(self):
        self.worker_seen("1 day", "gone")
        self.worker_seen("1 second", "here")

        self.assertFalse(self.seen.worker_missing)
        workers = self.env["matrix.worker"].with_user(self.manager).search([])
        alive = workers.filtered(lambda worker: not worker.silent).mapped("name")
        self.assertEqual(alive, ["here"])

    def test_a_worker_that_stopped_is_missing(self):
        self.assertTrue(self.seen.worker_missing)
        self.assertFalse(self.seen.worker_last_seen)

    def test_a_plain_user_reads_nothing_of_it(self):
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).read(["state"])

    def test_rooms_and_messages_that_wait_open_from_the_backend(self):
        self.enqueue(2)
        lanes = self.env["matrix.lane"].with_user(self.manager)

        lane = lanes.search(self.seen.action_view_waiting()["domain"])

        self.assertEqual((lane.target, lane.waiting), ("!room:example.org", 2))
        outbox = self.env["matrix.outbox"].with_user(self.manager)
        waiting = outbox.search(lane.action_view_messages()["domain"])
        self.assertEqual(waiting.mapped("body"), ["Hello", "Hello"])

    def test_the_form_opens_for_a_backend_that_is_not_saved(self):
        new = self.env["matrix.backend"].with_user(self.manager).new({"name": "New"})

        self.assertEqual((new.state, new.waiting_count), (False, "0"))
