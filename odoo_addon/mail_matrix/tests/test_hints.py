from .common import MatrixCase


class TestHints(MatrixCase):
    """What the log advises when a message failed."""

    def hint(self, code, **values):
        failed = {"status": "failed", "error_code": code, "error_message": "No"}
        return self.log_row(event_type="dm", **failed, **values).hint

    def test_a_direct_message_to_no_account_asks_to_check_the_matrix_id(self):
        hint = self.hint("org.odoo.no_such_user", matrix_user_id="@ida:example.org")

        self.assertIn("Check the Matrix ID", hint)

    def test_the_hints_for_a_direct_message_speak_of_no_record(self):
        for code in ("org.odoo.encrypted", "M_FORBIDDEN"):
            hint = self.hint(code, matrix_user_id="@ida:example.org")

            self.assertTrue(hint, code)
            self.assertNotIn("record", hint, code)
            self.assertNotEqual(hint, self.hint(code, room_id="!r:example.org"), code)

    def test_the_hint_for_an_encrypted_room_names_the_consent_on_the_record(self):
        hint = self.hint("org.odoo.encrypted", room_id="!room:example.org")

        self.assertIn("“Send Unencrypted” on the record", hint)
