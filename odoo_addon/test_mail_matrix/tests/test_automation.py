from odoo.exceptions import UserError, ValidationError
from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestAutomation(TicketCase):
    """The server action needs no mixin."""

    def action(self, model="res.partner", **values):
        return self.env["ir.actions.server"].create(
            {
                "name": "Tell Matrix",
                "model_id": self.env["ir.model"]._get_id(model),
                "state": "matrix",
                "matrix_template": "Contact {{ object.name }}",
                **values,
            }
        )

    def run_on(self, action, records):
        action.with_context(active_model=records._name, active_ids=records.ids).run()
        self.commit()

    def test_any_record_can_post_in_a_room(self):
        partners = self.env["res.partner"].create([{"name": "Ann"}, {"name": "Bob"}])
        action = self.action(matrix_room="!contacts", matrix_message_type="m.notice")
        self.run_on(action, partners)

        self.assertEqual(self.bodies(), ["Contact Ann", "Contact Bob"])
        row = self.outbox()[0]
        self.assertEqual(row["room_id"], "!contacts")
        self.assertEqual(row["event_type"], "automation")
        self.assertEqual(row["content"]["msgtype"], "m.notice")
        self.assertEqual(
            (row["res_model"], row["res_id"]), ("res.partner", partners[0].id)
        )

    def test_the_room_may_be_an_expression(self):
        partner = self.env["res.partner"].create({"name": "Ann", "ref": "!of-ann"})
        action = self.action(matrix_room="{{ object.ref }}")
        self.run_on(action, partner)
        self.assertEqual(self.outbox()[0]["room_id"], "!of-ann")

        partner.ref = "no room"
        self.run_on(action, partner)
        self.assertEqual(len(self.outbox()), 1)
        self.assertEqual(self.failures()[0]["error_code"], "org.odoo.room")
        self.assertIn("no room", self.failures()[0]["error_message"])

    def test_the_room_may_be_that_of_another_record(self):
        visit = self.env["test.matrix.visit"].create({"ticket_id": self.ticket.id})
        self.commit()
        self.clear_outbox()
        action = self.action(
            visit._name,
            matrix_room="{{ object.ticket_id.matrix_room_id }}",
            matrix_template="Visit",
        )
        self.run_on(action, visit)

        self.assertEqual(self.outbox()[0]["room_id"], ROOM)

    def test_without_a_room_it_is_the_record_s_or_the_default(self):
        model = self.ticket._name
        action = self.action(model, matrix_template="{{ object.name }}!")
        self.run_on(action, self.ticket)
        self.assertEqual(self.outbox()[0]["room_id"], ROOM)

        partner_action = self.action()
        self.run_on(partner_action, self.user.partner_id)
        self.assertEqual(len(self.outbox()), 1)
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.room")
        self.assertIn("“Tell Matrix”: No room was found", failure["error_message"])
        log = self.env["matrix.log"].browse(failure["id"])
        self.assertIn("on the server action", log.hint)
        self.backend.default_room_id = "!default"
        self.run_on(partner_action, self.user.partner_id)
        self.assertEqual(self.outbox()[-1]["room_id"], "!default")

    def test_a_failing_text_disturbs_nobody(self):
        self.run_on(
            self.action(matrix_room="!a", matrix_template="{{ object.name < 1 }}"),
            self.user.partner_id,
        )

        self.assertEqual(self.outbox(), [])
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.template")
        self.assertIn("Server action “Tell Matrix”: ", failure["error_message"])

    def test_running_it_without_a_record_is_explained(self):
        with self.assertRaisesRegex(UserError, "“Tell Matrix”.* a list or form of Con"):
            self.action().run()
        self.assertEqual(self.failures(), [])

    def test_a_schedule_that_has_no_record_is_logged(self):
        self.action().with_context(cron_id=1).run()

        self.assert_failed_without_record()

    def test_a_record_that_is_deleted_is_logged(self):
        partner = self.env["res.partner"].create({"name": "Ann"})
        action = self.action(matrix_room="!a")
        action.with_context(active_model=partner._name, active_ids=partner.ids).run()
        partner.unlink()
        self.commit()

        self.assert_failed_without_record()

    def assert_failed_without_record(self):
        self.assertEqual(self.outbox(), [])
        (failure,) = self.failures()
        self.assertEqual(failure["error_code"], "org.odoo.no_record")
        self.assertIn("Server action “Tell Matrix”: ", failure["error_message"])
        log = self.env["matrix.log"].with_user(self.manager).search([])
        self.assertIn("not when they are deleted", log.hint)

    def test_a_scheduled_action_is_refused(self):
        with self.assertRaisesRegex(ValidationError, "does not run on a record"):
            self.env["ir.cron"].create(
                {
                    "name": "Tell Matrix each day",
                    "model_id": self.env["ir.model"]._get_id("res.partner"),
                    "state": "matrix",
                    "matrix_template": "Contact {{ object.name }}",
                }
            )

    def test_what_cannot_work_is_refused(self):
        for values, words in (
            ({"matrix_template": False}, "Enter the text"),
            ({"matrix_room": "#alias:example.org"}, "#alias:example.org"),
            ({"matrix_template": "{{ object. }}"}, "Write expressions as"),
            (
                {"model": self.ticket._name, "matrix_template": "{{ object.secret }}"},
                "test.matrix.ticket.secret",
            ),
        ):
            with self.assertRaisesRegex(ValidationError, words):
                self.action(**values)
