from datetime import timedelta

from psycopg2.errors import SerializationFailure

from odoo import fields
from odoo.sql_db import db_connect
from odoo.tools import mute_logger

from .test_encryption_setup import PASSWORD, SetupCase


class TestEncryptionRequest(SetupCase):
    """What becomes of a request until a worker takes it."""

    def test_a_request_that_comes_at_the_same_time_is_run_again(self):
        """Odoo runs a transaction again after this error, not after a duplicate key."""
        other = db_connect(self.env.cr.dbname).cursor()
        self.addCleanup(other.close)
        asked = [self.backend.id]
        other.execute(
            "INSERT INTO matrix_crypto_request (backend_id, kind) "
            "VALUES (%s, 'new_device')",
            asked,
        )
        other.commit()
        self.addCleanup(other.commit)
        self.addCleanup(
            other.execute,
            "DELETE FROM matrix_crypto_request WHERE backend_id = %s",
            asked,
        )

        with (
            self.assertRaises(SerializationFailure),
            mute_logger("odoo.sql_db"),
            self.env.cr.savepoint(),
        ):
            self.ask()

    def asked_ago(self, **ago):
        """Ask a worker, which does not take the request for this long."""
        self.ask()
        self.env.cr.execute(
            """
            UPDATE matrix_crypto_request SET requested_at = requested_at - %(ago)s;
            UPDATE matrix_backend
            SET encryption_asked_at = encryption_asked_at - %(ago)s
            WHERE id = %(id)s
            """,
            {"ago": timedelta(**ago), "id": self.backend.id},
        )
        self.env.invalidate_all()

    def test_a_password_that_no_worker_takes_is_deleted(self):
        self.asked_ago(minutes=14)
        self.env["matrix.backend"]._gc_encryption_requests()
        self.assertEqual(self.request(), ("password", PASSWORD), "Still valid")

        self.asked_ago(minutes=16)
        self.env["matrix.backend"]._gc_encryption_requests()
        self.assertEqual(self.requests(), [])

    def test_the_vacuum_comes_when_the_request_is_too_old(self):
        vacuum = self.env.ref("base.autovacuum_job")
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", vacuum.id)])
        now = fields.Datetime.now()

        self.ask()

        added = self.env["ir.cron.trigger"].search([("cron_id", "=", vacuum.id)])
        [trigger] = added - triggers
        self.assertGreater(trigger.call_at, now + timedelta(minutes=15))
        self.assertLess(trigger.call_at, now + timedelta(minutes=30))

    def test_the_form_says_that_no_worker_took_the_request(self):
        for is_deleted in (False, True):
            self.asked_ago(minutes=16)
            if is_deleted:
                self.env["matrix.backend"]._gc_encryption_requests()
            self.assertEqual(self.backend.encryption_state, "failed")
            problem = self.backend.encryption_problem
            self.assertIn("No worker took the request", problem)
            self.assertIn("“Set Up Again”", problem)

        self.env.cr.execute("DELETE FROM matrix_worker")
        self.env.invalidate_all()
        self.assertEqual(self.backend.encryption_state, "no_worker")
        problem = self.backend.encryption_problem
        self.assertIn("No worker is running", problem)
        self.assertIn("No worker took the request", problem)

        self.worker("1.0.0+encryption")
        self.ask()
        self.assertEqual(self.backend.encryption_state, "setup", "Asked again")

    def test_a_request_that_a_worker_took_does_not_grow_old(self):
        self.asked_ago(minutes=16)
        self.env["matrix.backend"]._gc_encryption_requests()

        self.keys(
            signature=None,
            setup_state="failed",
            setup_reason="why",
            setup_at=fields.Datetime.now(),
        )
        self.assertEqual(self.backend.encryption_problem[:4], "Why.")

        self.keys()
        self.assertEqual(self.backend.encryption_state, "ready", "What counts is now")
