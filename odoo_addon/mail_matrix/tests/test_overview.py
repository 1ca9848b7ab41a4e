from ast import literal_eval
from datetime import timedelta
from unittest.mock import patch

from lxml import etree

from odoo.exceptions import AccessError

from ..tools import words
from .common import MatrixCase


class TestOverview(MatrixCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clear_outbox()
        cls.env.cr.execute("DELETE FROM matrix_worker")

    def overview(self, user):
        return self.env["matrix.log"].with_user(user).get_overview()

    def test_a_manager_sees_what_the_last_day_brought(self):
        now = self.env.cr.now()
        for status, is_final, ago in (
            ("ok", True, 1),
            ("ok", True, 25),
            ("failed", True, 2),
            ("failed", True, 3),
            ("failed", False, 4),
        ):
            self.log_row(
                status=status,
                is_final=is_final,
                date=now - timedelta(hours=ago),
                backend_id=self.backend.id,
            )

        overview = self.overview(self.manager)

        self.assertEqual((overview["sent"], overview["failed"]), ("1", "2"))

    def test_a_user_sees_nothing_of_what_he_may_not_read(self):
        self.enqueue()
        self.backend_state("down")
        self.log_row(status="failed", backend_id=self.backend.id)

        overview = self.overview(self.user)

        self.assertEqual(overview["failed"], "0")
        self.assertIs(overview["waiting"], False)
        self.assertIs(overview["troubles"], False)

    def test_a_stranger_sees_nothing(self):
        stranger = self.make_user("stranger", "base.group_user")
        with self.assertRaises(AccessError):
            self.overview(stranger)

    def test_it_shows_what_waits_and_since_when(self):
        self.enqueue(2, queued_at="2026-01-01 08:00:00")

        overview = self.overview(self.manager)

        self.assertEqual(overview["waiting"], "2")
        self.assertEqual(overview["oldest_queued_at"], "2026-01-01 08:00:00")

    def test_it_shows_what_waits_by_day_and_event(self):
        self.enqueue(2, queued_at="2026-01-01 08:00:00")
        self.enqueue(3, queued_at="2026-01-02 08:00:00")
        self.env.cr.execute(
            "UPDATE matrix_outbox SET event_type = 'chatter' "
            "WHERE id = (SELECT max(id) FROM matrix_outbox)"
        )

        groups = self.overview(self.manager)["waiting_by"]

        self.assertEqual(
            [(group["day"], group["event"], group["count"]) for group in groups],
            [
                ("01/01/2026", "Manual message", "2"),
                ("01/02/2026", "Chatter", "1"),
                ("01/02/2026", "Manual message", "2"),
            ],
        )
        self.assertIs(self.overview(self.user)["waiting_by"], False)

    def test_a_week_is_compared_with_the_one_before(self):
        self.assertFalse(self.overview(self.manager)["week"]["trend"])
        now = self.env.cr.now()
        for days, status in ((1, "ok"), (2, "ok"), (6, "ok"), (3, "failed"), (9, "ok")):
            date = now - timedelta(days=days)
            self.log_row(date=date, backend_id=self.backend.id, status=status)
        self.log_row(
            date=now - timedelta(days=13), backend_id=self.backend.id, status="ok"
        )

        week = self.overview(self.manager)["week"]

        self.assertEqual((week["sent"], week["failed"]), ("3", "1"))
        self.assertEqual((week["before"], week["trend"]), ("2", "+50 %"))
        self.assertIs(self.overview(self.user)["week"], False)
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.backend.company_id = company
        self.assertEqual(self.overview(self.manager)["week"]["sent"], "0")

    def test_counting_for_a_manager_judges_no_records(self):
        """Access checks read every row of these days before the limit applies."""
        lately = self.env.cr.now() - timedelta(hours=1)
        self.log_row(date=lately, backend_id=self.backend.id)
        logs = self.env["matrix.log"].with_user(self.manager)

        with patch.object(type(logs), "_records_of", side_effect=AssertionError):
            overview = logs.get_overview()

        self.assertEqual((overview["sent"], overview["week"]["sent"]), ("1", "1"))

    def test_slow_rooms_are_named_by_their_median(self):
        now = self.env.cr.now()
        for room, seconds in (
            ("!slow", (8, 8, 10000)),
            ("!fast", (0, 0, 10000)),
            ("!middle", (3,)),
        ):
            for second in seconds:
                self.log_row(
                    date=now,
                    queued_at=now - timedelta(seconds=second),
                    room_id=room,
                    backend_id=self.backend.id,
                )

        rooms = self.overview(self.manager)["slow_rooms"]

        self.assertEqual(
            [(room["name"], room["took"]) for room in rooms],
            [("!slow", "8 seconds"), ("!middle", "3 seconds")],
        )
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.backend.company_id = company
        self.assertEqual(self.overview(self.manager)["slow_rooms"], [])

    def test_it_shows_which_backend_is_in_trouble(self):
        self.backend_state("unauthorized", reason="M_UNKNOWN_TOKEN")

        [trouble] = self.overview(self.manager)["troubles"]

        self.assertEqual(
            (trouble["id"], trouble["state"]), (self.backend.id, "unauthorized")
        )
        self.assertIn("Enter a valid access token", trouble["note"])

    def test_it_shows_that_no_worker_runs(self):
        self.assertTrue(self.overview(self.user)["is_worker_missing"])

        self.worker_seen()

        self.assertFalse(self.overview(self.user)["is_worker_missing"])

    def test_without_a_backend_no_worker_is_missing(self):
        self.backend.is_active = False

        self.assertFalse(self.overview(self.manager)["is_worker_missing"])

    def test_another_companys_backend_does_not_count(self):
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.backend.company_id = company
        self.backend_state("down")
        self.enqueue()

        overview = self.overview(self.manager)

        self.assertEqual((overview["waiting"], overview["troubles"]), ("0", []))

    def test_the_lists_leave_out_the_same_codes_as_the_figures(self):
        """Views cannot name the lists of tools.words."""
        search = etree.fromstring(
            self.env.ref("mail_matrix.matrix_log_view_search").arch
        )
        domains = {
            name: search.xpath(f"//filter[@name='{name}']/@domain")[0]
            for name in ("failed", "discarded", "not_posted", "unreadable")
        }
        domains["overview"] = self.env.ref("mail_matrix.matrix_overview_action").domain
        codes = {
            name: term[2]
            for name, domain in domains.items()
            for term in literal_eval(domain)
            if term[0] == "error_code"
        }

        self.assertEqual(
            codes,
            {
                "failed": words.NOT_FAILED,
                "overview": words.NOT_FAILED,
                "not_posted": words.NOT_POSTED,
                "discarded": words.ERROR_DISCARDED,
                "unreadable": words.ERROR_UNREADABLE,
            },
        )

    def test_a_delivery_has_a_short_name(self):
        long = self.log_row(payload="Dear all,\nthe files " + "are complete " * 2000)
        nameless = self.log_row(event_type="test")
        unknown = self.log_row(event_type="gone_with_its_addon")

        self.assertTrue(
            long.display_name.startswith("Dear all, the files are complete")
        )
        self.assertLessEqual(len(long.display_name), 80)
        self.assertEqual(nameless.display_name, "Test message")
        self.assertEqual(unknown.display_name, "")
