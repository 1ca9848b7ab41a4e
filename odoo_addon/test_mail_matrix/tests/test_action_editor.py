from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import TicketCase

TEXT = "matrix_template"


@tagged("post_install", "-at_install")
class TestActionEditor(TicketCase):
    """The editor of a server action's text, before the action is saved."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        administrator = cls.make_user(
            "administrator",
            "base.group_system",
            "mail_matrix.group_matrix_manager",
            "mail.group_mail_template_editor",
        )
        cls.actions = cls.env["ir.actions.server"].with_user(administrator)
        cls.model_id = cls.env["ir.model"]._get_id(cls.ticket._name)

    def check(self, source):
        return self.actions.check_matrix_text(TEXT, source, model_id=self.model_id)

    def test_it_offers_the_fields_of_the_model_that_was_chosen(self):
        groups = self.actions.get_matrix_text_help(TEXT, model_id=self.model_id)
        entries = {e["text"] for group in groups["groups"] for e in group["entries"]}

        self.assertIn("{{ object.stage }}", entries)
        self.assertNotIn("{{ object.secret }}", entries)

    def test_it_shows_the_text_with_a_record_and_where_it_breaks(self):
        found = self.check("Now: {{ object.stage }}")

        self.assertFalse(found["problem"])
        self.assertIn("Now: New", found["body"])
        self.assertIn("nope", self.check("{{ object.nope }}")["problem"])
        self.assertIn("groups", self.check("{{ object.secret }}")["problem"])

    def test_only_who_may_write_actions_tries_their_texts(self):
        actions = self.actions.with_user(self.manager)
        for method, args in (
            (actions.get_matrix_text_help, (TEXT,)),
            (actions.check_matrix_text, (TEXT, "{{ object.stage }}")),
        ):
            with self.assertRaises(AccessError):
                method(*args, model_id=self.model_id)
