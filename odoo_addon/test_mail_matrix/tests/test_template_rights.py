from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import Form, tagged

from .common import TicketCase

TEXT = "Now in {{ object.stage }}"


@tagged("post_install", "-at_install")
class TestTemplateRights(TicketCase):
    """Only members of Mail Template Editor write texts, whatever way a text comes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.editors = cls.env.ref("mail.group_mail_template_editor")
        # Odoo makes all employees editors unless the settings say otherwise.
        cls.env.ref("base.group_user").implied_ids = [Command.unlink(cls.editors.id)]
        cls.manager.write({cls.groups_field(): [Command.unlink(cls.editors.id)]})
        cls.office = cls.backend.with_user(cls.manager)
        cls.values = {
            "name": "Second",
            "homeserver_url": "http://localhost",
            "is_active": False,
        }

    def let_edit(self):
        self.manager.write({self.groups_field(): [Command.link(self.editors.id)]})

    def assert_editors_only(self, act):
        """``act`` is refused, and done as soon as the manager is an editor."""
        with self.assertRaises(AccessError):
            act()
        self.let_edit()
        act()

    def test_a_write(self):
        self.assert_editors_only(
            lambda: self.office.write({"template_ticket_moved": TEXT})
        )
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).template_ticket_moved = TEXT

    def test_what_is_not_changed_is_free(self):
        own = self.backend.template_ticket_moved
        self.office.write({"name": "Kept", "template_ticket_moved": own})
        self.office.create({**self.values, "template_ticket_moved": own})

    def test_a_value_of_create(self):
        self.assert_editors_only(
            lambda: self.office.create({**self.values, "template_test": TEXT[:6]})
        )

    def test_a_default_of_the_context(self):
        named = self.office.with_context(default_template_test="Hi")
        self.assert_editors_only(lambda: named.create(dict(self.values)))

    def test_a_default_of_the_context_below_all_rights(self):
        """Code that runs with all rights must not carry in what its caller brings."""
        named = self.office.sudo().with_context(default_template_test="Hi")
        self.assert_editors_only(lambda: named.create(dict(self.values)))

    def test_a_default_of_the_database(self):
        self.env["ir.default"].set(
            "matrix.backend", "template_test", "Hi", user_id=self.manager.id
        )
        self.assert_editors_only(lambda: self.office.create(dict(self.values)))

    def test_a_copy(self):
        self.assert_editors_only(lambda: self.office.copy({"template_test": "Hi"}))

    def test_a_copy_under_a_default(self):
        named = self.office.with_context(default_template_test="Hi")
        # A copy brings its own texts along, so the default changes nothing.
        self.assertEqual(named.copy().template_test, self.backend.template_test)

    def test_a_copy_of_a_text_that_somebody_else_wrote(self):
        self.backend.template_test = "Hi"
        self.assert_editors_only(lambda: self.office.copy())

    def test_a_form(self):
        def fill():
            backends = self.office.browse().with_context(default_template_test="Hi")
            form = Form(backends)
            form.name, form.homeserver_url = "Second", "http://localhost"
            form.is_active = False
            form.save()

        self.assert_editors_only(fill)

    def test_a_web_save(self):
        self.assert_editors_only(
            lambda: self.office.web_save({"template_test": "Hi"}, {"name": {}})
        )
        new = self.env["matrix.backend"].with_user(self.manager)
        self.manager.write({self.groups_field(): [Command.unlink(self.editors.id)]})
        named = new.with_context(default_template_test="Hi")
        self.assert_editors_only(
            lambda: named.web_save(dict(self.values), {"name": {}})
        )

    def test_an_import(self):
        def load():
            names = ["name", "homeserver_url", "is_active", "template_test"]
            rows = [["Imported", "http://localhost", "False", "Hi"]]
            result = self.office.browse().load(names, rows)
            if not result["ids"]:
                raise AccessError(result["messages"])

        self.assert_editors_only(load)

    def test_an_import_under_a_default(self):
        def load():
            names = ["name", "homeserver_url", "is_active"]
            named = self.office.browse().with_context(default_template_test="Hi")
            result = named.load(names, [["Imported", "http://localhost", "False"]])
            if not result["ids"]:
                raise AccessError(result["messages"])

        self.assert_editors_only(load)

    def test_server_actions(self):
        system = self.env.ref("base.group_system")
        system.implied_ids = [Command.unlink(self.editors.id)]
        admin = self.make_user("matrix-admin", "base.group_system")
        admin.write({self.groups_field(): [Command.unlink(self.editors.id)]})
        self.assertFalse(admin.has_group("mail.group_mail_template_editor"))
        actions = self.env["ir.actions.server"].with_user(admin)
        values = {
            "name": "Tell",
            "model_id": self.env["ir.model"]._get_id(self.ticket._name),
            "state": "matrix",
        }

        with self.assertRaises(AccessError):
            actions.create({**values, "matrix_template": "{{ object.name }}"})
        named = actions.with_context(default_matrix_template="{{ object.name }}")
        with self.assertRaises(AccessError):
            named.create(values)
