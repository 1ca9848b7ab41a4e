import json
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch
from urllib.parse import urlsplit

from odoo import SUPERUSER_ID, api, sql_db
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from odoo.addons.mail_matrix.controllers import inbound
from odoo.addons.mail_matrix.tools.words import LOCK_INBOUND, LOCK_INBOUND_TURN

from .inbound import InboundCase


@tagged("post_install", "-at_install")
class TestInboundTurn(HttpCase, InboundCase):
    """Events come in by one request per backend at a time."""

    def send(self, mode="appservice"):
        """Send a message as the homeserver does, or in mode “follow” the worker."""
        self.backend.inbound_mode = mode
        url = self.base_url() + urlsplit(self.backend.inbound_url).path
        method = "POST"
        if mode == "appservice":
            url, method = f"{url}/_matrix/app/v1/transactions/1", "PUT"
        headers = {
            "Authorization": f"Bearer {self.backend._inbound_secret()}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"events": [self.text()]})
        self.env.flush_all()
        return self.opener.request(method, url, data=body, headers=headers, timeout=300)

    @contextmanager
    def other(self, *locks):
        """Hold these locks of the backend, in another session."""
        with sql_db.db_connect(self.env.cr.dbname).cursor() as other:
            for lock in locks:
                other.execute(
                    "SELECT pg_advisory_xact_lock(%s, %s)", [lock, self.backend.id]
                )
            yield other

    def sleeps(self, action=None):
        """Do this instead of each pause."""
        side_effect = action and (lambda _seconds: action())
        return patch.object(inbound, "sleep", side_effect=side_effect)

    def test_a_request_waits_for_the_one_before_it(self):
        with self.other(LOCK_INBOUND) as other, self.sleeps(other.rollback) as pauses:
            answer = self.send()

        self.assertEqual(answer.status_code, 200)
        self.assertEqual(len(self.notes()), 1)
        self.assertEqual(len(pauses.mock_calls), 1)

    def test_a_request_that_waited_sees_what_the_one_before_it_stored(self):
        mine = sql_db.db_connect(self.env.cr.dbname).cursor()
        self.addCleanup(mine.close)
        # The secret is read before the lock is taken.
        mine.execute("SELECT txid_current_snapshot()")
        request = SimpleNamespace(env=api.Environment(mine, SUPERUSER_ID, {}))
        with (
            self.other(LOCK_INBOUND) as other,
            self.sleeps(other.commit),
            patch.object(inbound, "request", request),
        ):
            other.execute("SELECT txid_current()")
            [(stored,)] = other.fetchall()

            inbound.InboundController()._lock(self.backend, 5)

        mine.execute(
            "SELECT txid_visible_in_snapshot(%s, txid_current_snapshot())", [stored]
        )
        self.assertEqual(mine.fetchall(), [(True,)])

    def test_a_request_that_waited_for_too_long_is_sent_again(self):
        with self.other(LOCK_INBOUND) as other, self.sleeps() as pauses:
            answer = self.send()
            other.execute(
                "SELECT pg_try_advisory_xact_lock(%s, %s)",
                [LOCK_INBOUND_TURN, self.backend.id],
            )
            self.assertEqual(other.fetchall(), [(True,)], "Another one may wait now")

        self.assertEqual(answer.status_code, 429)
        self.assertEqual(answer.headers["Retry-After"], "1")
        self.assertFalse(self.notes())
        waited = sum(call.args[0] for call in pauses.mock_calls)
        self.assertAlmostEqual(waited, 5)

    def test_only_one_request_waits(self):
        with self.other(LOCK_INBOUND, LOCK_INBOUND_TURN), self.sleeps() as pauses:
            answer = self.send()

        self.assertEqual(answer.status_code, 429)
        pauses.assert_not_called()

    def test_a_conflict_of_transactions_does_not_lose_the_body(self):
        """Odoo calls the route again, and its body has been read by then."""
        ingest = type(self.env["matrix.inbound"])._ingest
        failures = ["serialization_failure"]

        def conflict(rows, *args):
            if failures:
                rows.env.cr.execute(f"DO $$ BEGIN RAISE {failures.pop()}; END $$")
            return ingest(rows, *args)

        with (
            patch.object(type(self.env["matrix.inbound"]), "_ingest", conflict),
            patch("odoo.service.model.time.sleep"),
            mute_logger("odoo.sql_db"),
        ):
            answer = self.send()

        self.assertEqual(answer.status_code, 200)
        self.assertEqual(len(self.notes()), 1)

    def test_the_worker_does_not_wait_at_its_own_address(self):
        with self.other(LOCK_INBOUND), self.sleeps() as pauses:
            answer = self.send("follow")

        self.assertEqual(answer.status_code, 429)
        self.assertFalse(self.notes())
        pauses.assert_not_called()
