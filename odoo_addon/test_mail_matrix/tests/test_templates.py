from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools.template_check import RestrictedField, check

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestTemplates(TicketCase):
    def test_restricted_fields_are_found_however_they_are_named(self):
        for source in (
            "{{ object.secret }}",
            "{{ object['secret'] }}",
            "{{ object.sudo().secret }}",
            "{{ object.mapped('secret') }}",
            "{{ object.filtered(lambda o: o.secret) }}",
            "{{ [o.secret for o in object] }}",
            "{{ (object or object).secret }}",
            "{{ object.exists().with_context(a=1).secret }}",
            "{{ object.env['test.matrix.ticket'].search([]).secret }}",
            "{{ object.read(['secret']) }}",
            "Fine {{ object.name }} {{ object.secret and 'yes' }}",
            "{{ user.totp_secret or user.groups_id or user.group_ids.x or "
            "object.secret }}",
            "{{ object.env['matrix.backend'].search([]).token_sealed }}",
        ):
            with self.assertRaises(RestrictedField, msg=source):
                check(self.env, source, self.ticket._name)

    def test_what_rooms_may_read_passes(self):
        for source in (
            "",
            "No expression",
            "{{ object.name }} moved to {{ object.stage }}",
            "{{ object.partner_id.name or 'nobody' }}",
            "{{ format_datetime(object.create_date, dt_format='short') }}",
            "{{ object.name.upper() }}",
            "{{ ', '.join(object.user_ids.mapped('name')) }}",
            "{{ ', '.join(u.name for u in object.user_ids) }}",
            "{{ object.partner_id.name ||| nobody }}",
        ):
            check(self.env, source, self.ticket._name)

    def test_saving_refuses_them_with_the_field_s_name(self):
        with self.assertRaisesRegex(ValidationError, "test.matrix.ticket.secret"):
            self.backend.template_ticket_moved = "{{ object.secret }}"

    def test_a_new_backend_is_checked_alike(self):
        with self.assertRaisesRegex(ValidationError, "test.matrix.ticket.secret"):
            self.backend.copy({"template_chatter": "{{ object.secret }}"})

    def test_a_text_with_a_syntax_error_is_refused(self):
        with self.assertRaisesRegex(ValidationError, "no valid template"):
            self.backend.template_ticket_moved = "{{ object.name( }}"

    def test_texts_are_for_managers_who_edit_templates(self):
        editors = self.env.ref("mail.group_mail_template_editor")
        # Odoo makes all employees editors unless the settings say otherwise.
        employees = self.env.ref("base.group_user")
        employees.implied_ids = [Command.unlink(editors.id)]
        self.manager.write({self.groups_field(): [Command.unlink(editors.id)]})
        backend = self.backend.with_user(self.manager)
        text = "Now in {{ object.stage }}"

        with self.assertRaises(AccessError):
            backend.template_ticket_moved = text
        backend.write({"name": "Kept", "template_ticket_moved": self.text()})
        created = backend.create(
            {
                "name": "With default texts",
                "homeserver_url": "http://localhost",
                "template_ticket_moved": self.text(),
                "is_active": False,
            }
        )
        self.assertTrue(created)

        self.manager.write({self.groups_field(): [Command.link(editors.id)]})
        backend.template_ticket_moved = text
        with self.assertRaises(AccessError):
            self.backend.with_user(self.user).template_ticket_moved = text

    def text(self):
        return self.backend.template_ticket_moved
