from .common import MatrixCase


class TestSetup(MatrixCase):
    """The first steps, as far as they go without an addon that has rooms."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clear_outbox()

    def steps(self, user=None):
        self.env.invalidate_all()
        backends = self.env["matrix.backend"].with_user(user or self.manager)
        found = backends.get_matrix_setup()
        return found and {step["key"]: step for step in found}

    def test_without_a_backend_the_first_step_makes_one(self):
        self.backend.is_active = False

        step = self.steps()["connect"]

        self.assertFalse(step["done"])
        self.assertEqual(step["action"]["tag"], "mail_matrix.connect")
        self.assertFalse(step["action"]["params"]["backendId"])

    def test_a_backend_is_connected_when_its_test_went_well(self):
        step = self.steps()["connect"]
        self.assertFalse(step["done"])
        self.assertEqual(step["action"]["params"]["backendId"], self.backend.id)

        self.backend.personal_access_token = "syt_token"
        self.backend._write_test(result="failed", problem="No token")
        step = self.steps()["connect"]
        self.assertEqual((step["done"], step["note"]), (False, "No token"))

        self.backend._write_test(result="warning")
        step = self.steps()["connect"]
        self.assertTrue(step["done"])
        self.assertEqual(step["action"]["res_id"], self.backend.id)

    def test_a_message_that_waits_or_failed_is_named(self):
        self.assertFalse(self.steps()["message"]["note"])

        self.enqueue()
        self.assertIn("waiting", self.steps()["message"]["note"])

        self.log(self.outbox()[0], error_message="Not in this room")
        self.assertEqual(self.steps()["message"]["note"], "Not in this room")

    def test_who_has_sent_the_first_message_sees_it_for_an_hour(self):
        sent = self.log_row(backend_id=self.backend.id, status="ok")
        self.assertTrue(self.steps()["message"]["done"])

        self.env.cr.execute(
            "UPDATE matrix_log SET date = date - interval '61 minutes' WHERE id = %s",
            [sent.id],
        )
        self.assertIs(self.steps(), False)

    def test_only_managers_set_up(self):
        self.assertIs(self.steps(self.user), False)
