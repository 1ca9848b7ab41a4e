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
