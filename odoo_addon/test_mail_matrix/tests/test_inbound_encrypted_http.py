from datetime import timezone

from odoo import fields
from odoo.tests import tagged

from .inbound import BOT, AppServiceCase


@tagged("post_install", "-at_install")
class TestAppServiceEncrypted(AppServiceCase):
    """The homeserver and a worker pass on the same rooms of a backend that encrypts."""

    def found(self, event):
        self.env.invalidate_all()
        return self.env["matrix.inbound"].search([("event_id", "=", event["event_id"])])

    def position(self, account, since):
        """Write up to where a worker has read the account."""
        self.env.cr.execute(
            """
            INSERT INTO matrix_follower (backend_id, matrix_user_id, since)
            VALUES (%s, %s, %s) ON CONFLICT (backend_id) DO UPDATE
            SET matrix_user_id = excluded.matrix_user_id, since = excluded.since
            """,
            [self.backend.id, account, since],
        )

    def test_where_messages_are_encrypted_only_the_worker_passes_on_what_is_written(
        self,
    ):
        """A reaction must not overtake the message that it is about."""
        self.backend.write({"encryption_mode": "encrypt", "inbound_account": BOT})
        other = "@other:example.org"
        for number, (account, since, is_taken) in enumerate(
            ((None, None, True), (BOT, None, True), (other, "s1", True))
            + ((BOT, "s1", False),)
        ):
            self.position(account, since)
            event = self.text(f"Number {number}")

            self.assertEqual(self.put([event]).status_code, 200)
            self.assertEqual(bool(self.found(event)), is_taken, (account, since))

            self.assertEqual(self.put([event], txn_id="worker").status_code, 200)
            self.assertEqual(len(self.found(event)), 1)

        self.assertEqual(self.put([], body=b"{").status_code, 400)
        self.backend.encryption_mode = "refuse"
        event = self.text("Not encrypted")
        self.put([event])
        self.assertEqual(len(self.found(event)), 1)

    def test_nothing_is_left_to_workers_of_which_one_passes_on_nothing(self):
        self.backend.write({"encryption_mode": "encrypt", "inbound_account": BOT})
        self.position(BOT, "s1")
        for version, ago, is_taken in (
            ("1.0.0+contract13.encryption", "0 seconds", True),
            ("1.0.0+contract13.encryption", "3 minutes", False),
            ("1.0.0+contract14.encryption", "0 seconds", False),
        ):
            self.worker_seen(ago)
            self.env.cr.execute("UPDATE matrix_worker SET version = %s", [version])
            event = self.text(f"{version} {ago}")

            self.assertEqual(self.put([event]).status_code, 200)

            self.assertEqual(bool(self.found(event)), is_taken, (version, ago))

    def test_what_was_written_before_encryption_was_set_up_is_still_taken_over(self):
        """Odoo was down, for example, and the worker has begun after it."""
        now = fields.Datetime.now()
        self.backend.write(
            {
                "encryption_mode": "encrypt",
                "encryption_asked_at": now,
                "inbound_account": BOT,
            }
        )
        self.position(BOT, "s1")
        now_ms = int(now.replace(tzinfo=timezone.utc).timestamp() * 1000)
        before = self.text("Before", origin_server_ts=now_ms - 1)
        after = self.text("After", origin_server_ts=now_ms)
        bad = [{**before, "origin_server_ts": True}, [], {**before, "event_id": 1}]

        self.assertEqual(self.put([after, before, *bad]).status_code, 200)

        self.assertEqual(len(self.found(before)), 1)
        self.assertFalse(self.found(after))

    def test_no_position_is_used_after_encryption_changed_that_lacks_or_repeats(self):
        """While it is off the homeserver sends what is written, and while it is on
        only a worker does."""
        for mode, age, kept in (
            ("encrypt", "13 hours", False),
            ("encrypt", "11 hours", True),
            ("refuse", "13 hours", True),
        ):
            self.backend.encryption_mode = "refuse" if mode == "encrypt" else "encrypt"
            self.position(BOT, "s1")
            self.env.cr.execute(
                """
                UPDATE matrix_follower
                SET synced_at = now() AT TIME ZONE 'UTC' - %s::interval
                WHERE backend_id = %s
                """,
                [age, self.backend.id],
            )

            self.backend.encryption_mode = mode

            self.env.cr.execute(
                """
                SELECT since IS NOT NULL AND (%s = 'encrypt'
                    OR synced_at > now() AT TIME ZONE 'UTC' - interval '12 hours')
                FROM matrix_follower WHERE backend_id = %s
                """,
                [mode, self.backend.id],
            )
            self.assertEqual(self.env.cr.fetchone(), (kept,), (mode, age))
