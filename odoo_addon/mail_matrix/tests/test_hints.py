from .common import MatrixCase


class TestHints(MatrixCase):
    """What the log advises when a message failed."""

    def hint(self, code, **values):
        failed = {"status": "failed", "error_code": code, "error_message": "No"}
        return self.log_row(event_type="dm", **failed, **values).hint

    def test_a_direct_message_to_no_account_asks_to_check_the_matrix_id(self):
        hint = self.hint("org.odoo.no_such_user", matrix_user_id="@ida:example.org")

        self.assertIn("Check the Matrix ID", hint)

    def test_the_hints_for_a_direct_message_mention_no_record(self):
        for code in ("org.odoo.encrypted", "M_FORBIDDEN"):
            hint = self.hint(code, matrix_user_id="@ida:example.org")

            self.assertTrue(hint, code)
            self.assertNotIn("record", hint, code)
            self.assertNotEqual(hint, self.hint(code, room_id="!r:example.org"), code)

    def test_the_hint_for_an_encrypted_room_names_the_consent_on_the_record(self):
        hint = self.hint("org.odoo.encrypted", room_id="!room:example.org")

        self.assertIn("“Send Unencrypted” on the record", hint)

    def test_a_message_that_waits_for_a_person_says_what_to_do(self):
        for code in (
            "M_CONSENT_NOT_GIVEN",
            "M_RESOURCE_LIMIT_EXCEEDED",
            "M_USER_LIMIT_EXCEEDED",
            "M_USER_LOCKED",
            "M_USER_SUSPENDED",
            "M_UNKNOWN_TOKEN",
            "org.odoo.other_database",
        ):
            held = self.hint(code, room_id="!room:example.org", is_final=False)
            final = self.hint(code, room_id="!room:example.org")

            self.assertTrue(
                held.endswith(" The message will then be sent."), (code, held)
            )
            self.assertTrue(final.endswith(" Then click Retry."), (code, final))

    def test_a_message_that_waits_for_the_homeserver_asks_nothing_of_anybody(self):
        self.assertFalse(self.hint("org.odoo.unreachable", is_final=False))

    def test_failures_that_need_nothing_say_so(self):
        for code in ("org.odoo.nothing_to_change", "org.odoo.deleted"):
            self.assertTrue(self.hint(code).startswith("Nothing: "), code)
        self.assertIn("below the others", self.hint("org.odoo.overtaken"))
