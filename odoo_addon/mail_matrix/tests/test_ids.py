from .common import MatrixCase

_LOG_ID = 2**31 + 5
_OUTBOX_ID = 3 * 10**9 + 1


class TestIds(MatrixCase):
    """Both tables outgrow four bytes in the course of years."""

    def test_a_delivery_with_a_long_id_is_found_and_read(self):
        self.log_row(
            id=_LOG_ID,
            outbox_id=_OUTBOX_ID,
            backend_id=self.backend.id,
            event_type="manual",
            payload="Hello",
        )
        logs = self.env["matrix.log"].with_user(self.manager)

        found = logs.search([("outbox_id", "=", _OUTBOX_ID)])

        self.assertEqual(found.ids, [_LOG_ID])
        self.assertEqual(found.read(["outbox_id"])[0]["outbox_id"], _OUTBOX_ID)
        shown = found.web_read({"outbox_id": {}, "payload": {}, "hint": {}})[0]
        self.assertEqual((shown["id"], shown["payload"]), (_LOG_ID, "Hello"))

    def test_ids_at_the_ends_of_both_sizes_are_found_and_read(self):
        # Browsers and Odoo's floats distinguish numbers up to the last of these.
        exact = 2**53
        ends = (1, 2**31 - 1, 2**31, 2**63 - 1)
        for end in ends:
            self.env.cr.execute("DELETE FROM matrix_log WHERE id = %s", [end])
            self.log_row(
                id=end,
                outbox_id=min(end, exact),
                backend_id=self.backend.id,
                user_id=2**31 - 1,
                res_model="res.partner",
                res_id=min(end, 2**31 - 1),
                status="failed",
                payload="Hello",
            )
        logs = self.env["matrix.log"].with_user(self.manager)

        for end in ends:
            found = logs.search([("outbox_id", "=", min(end, exact)), ("id", "=", end)])
            self.assertEqual(found.ids, [end])
            names = ["outbox_id", "payload", "hint", "display_name", "res_id"]
            shown = found.web_read({name: {} for name in names})[0]
            self.assertEqual((shown["id"], shown["outbox_id"]), (end, min(end, exact)))
        self.assertEqual(logs.search_count([("id", "in", ends)]), len(ends))
        self.assertEqual(logs.search([("id", "in", ends)], order="id").ids, [*ends])

    def test_a_failure_with_a_long_id_is_retried_once(self):
        self.env.cr.execute(
            "SELECT setval('matrix_outbox_id_seq', %s)", [_OUTBOX_ID - 1]
        )
        self.enqueue()
        row = self.outbox()[0]
        failure = self.log(row, id=_LOG_ID, error_code="M_FORBIDDEN")

        failure.with_user(self.manager).action_retry()

        self.assertEqual([row["txn_id"]], [new["txn_id"] for new in self.outbox()])
        self.assertGreater(self.outbox()[0]["id"], row["id"])
