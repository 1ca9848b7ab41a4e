from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools.template_check import (
    ForbiddenWord,
    RestrictedField,
    check,
)

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
            "{{ object['user_ids'] and object.mapped('user_ids.totp_secret') }}",
            "{{ object.sorted('name desc, secret desc') }}",
            "{{ object.filtered(lambda o, s=object.secret: s) }}",
            "{{ object.mapped(lambda user: user.secret) }}",
            "{{ (lambda object: object.totp_secret)(user) }}",
            "{{ [object.totp_secret for object, x in [(user, 1)]] }}",
            "{{ (object or user).totp_secret }}",
            "{{ (object if object.name else user).totp_secret }}",
            "{{ [user][0].totp_secret }}",
            "{{ {'a': object}['a'].secret }}",
            "Fine {{ object.name }} {{ object.secret and 'yes' }}",
            "{{ user.totp_secret or user.groups_id or user.group_ids.x or "
            "object.secret }}",
        ):
            with self.assertRaises(RestrictedField, msg=source):
                check(self.env, source, self.ticket._name)

    def test_what_could_read_more_than_the_record_is_refused_by_its_word(self):
        for source, word in (
            ("{{ object.env['matrix.backend'].search([])._token() }}", "env"),
            ("{{ object._token() }}", "_token"),
            ("{{ object.env.cr.execute('SELECT 1') }}", "env"),
            ("{{ object.partner_id.env }}", "env"),
            ("{{ (object or user).cr }}", "cr"),
            ("{{ object.pool }}", "pool"),
            ("{{ object._fields }}", "_fields"),
            ("{{ object.read() }}", "read"),
            ("{{ object.search([]) }}", "search"),
            ("{{ object.browse(1).name }}", "browse"),
            ("{{ object.with_user(1).name }}", "with_user"),
            ("{{ object.write({'name': 'x'}) }}", "write"),
            ("{{ object.message_post(body='x') }}", "message_post"),
            ("{{ object.filtered_domain([('secret', '=', 'x')]) }}", "filtered_domain"),
            ("{{ [object][0].read() }}", "read"),
            ("{{ [object][0].export_data(['name']) }}", "export_data"),
            ("{{ [object][0].copy_data() }}", "copy_data"),
            ("{{ [object][0].sudo() }}", "sudo"),
            ("{{ [object][0].message_post(body='x') }}", "message_post"),
            ("{{ [*map(object.mapped, ['sec' + 'ret'])] }}", "mapped"),
            ("{{ [*map([object][0].mapped, ['sec' + 'ret'])] }}", "mapped"),
            ("{{ object['sec' + 'ret'] }}", "[…]"),
            ("{{ [object[name] for name in ['sec' + 'ret']] }}", "[…]"),
            ("{{ object[{(): 1, []: 2}] }}", "[…]"),
            ("{{ object.mapped('sec' + 'ret') }}", "mapped(…)"),
            ("{{ object.mapped(*['sec' + 'ret']) }}", "mapped(…)"),
            ("{{ object.sorted(key='sec' + 'ret') }}", "sorted(…)"),
            ("{{ '{0.secret}'.format(object) }}", "format"),
            ("{{ '{secret}'.format_map(object) }}", "format_map"),
            ("{{ str.format('{0.secret}', object) }}", "format"),
            ("{{ '%(secret)s' % object }}", "%"),
            ("{{ ('%(sec' + 'ret)s') % object }}", "%"),
            ("{{ object.name % object }}", "%"),
            ("{{ [(o := user), o.name] }}", ":="),
            ("{{ [1 for object['name'] in 'x'] }}", "object['name']"),
        ):
            with self.assertRaises(ForbiddenWord, msg=source) as caught:
                check(self.env, source, self.ticket._name)
            self.assertEqual(str(caught.exception), word, source)

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
            "{{ object.id }} {{ object.ids }}",
            "{{ object['name'] }} {{ object[0].name }}",
            "{{ object.sudo().create_uid.name }} {{ user.company_id.name }}",
            "{{ object.get_base_url() }}",
            "{{ object.with_context(lang='de_DE').display_name }}",
            "{{ object.user_ids.filtered(lambda u: u.active)[:1].name }}",
            "{{ object.user_ids.sorted(key=lambda u: u.name, reverse=True).ids }}",
            "{{ object.user_ids.sorted('name desc, id').mapped('partner_id.name') }}",
            "{{ object.name[:40].strip().title() + '…' }}",
            "{{ {'New': 'neu', 'Done': 'fertig'}[object.stage] }}",
            "{{ dict(New='neu').get(object.stage, object.stage) }}",
            "{{ '%s (%d)' % (object.name, object.id) }} {{ object.id % 7 }}",
            "{{ '%(name)s' % {'name': object.name} }}",
            "{{ f'{object.name}: {object.stage}' }}",
            "{{ (object.create_date + relativedelta(days=3)).strftime('%d.%m.') }}",
            "{{ datetime.date.today().isoformat() }} {{ ctx.get('lang') }}",
            "{{ object.name if object.stage in ('New', 'Done') else '-' }}",
            "{{ len(object.message_ids) > 3 and object.message_ids[0].subject }}",
            "{{ (object.partner_id.email or user.email or '').lower() }}",
            "{{ object.partner_id.country_id.code or ctx.get('code') }}",
            "{{ slug(object) }} {{ is_html_empty(object.name) }}",
            # Of another model's text: rendering would say that it is missing.
            "{{ object.no_such_field }}",
        ):
            check(self.env, source, self.ticket._name)

    def test_saving_refuses_them_with_the_field_s_name(self):
        with self.assertRaisesRegex(ValidationError, "test.matrix.ticket.secret"):
            self.backend.template_ticket_moved = "{{ object.secret }}"

    def test_a_text_is_held_to_the_models_that_its_event_happens_to(self):
        text = "{{ ', '.join(object.user_ids.mapped('state')) }}"

        self.backend.template_ticket_moved = text

        # A visit has no such people, so nobody knows whose state this is.
        with self.assertRaisesRegex(ValidationError, "matrix.backend.state"):
            self.backend.template_visit_created = text

    def test_what_to_write_instead_is_said(self):
        for source, instead in (
            ("{{ object.read() }}", "“read”.*Write fields"),
            ("{{ '{0.secret}'.format(object) }}", "“format”.*Join texts"),
            ("{{ object['sec' + 'ret'] }}", "“\\[…\\]”.*name of the field"),
        ):
            with self.assertRaisesRegex(ValidationError, instead):
                self.backend.template_ticket_moved = source

    def test_server_actions_and_their_rooms_are_checked_alike(self):
        values = {
            "name": "Tell",
            "model_id": self.env["ir.model"]._get_id(self.ticket._name),
            "state": "matrix",
            "matrix_template": "{{ object.name }}",
        }
        action = self.env["ir.actions.server"].create(values)
        for name in ("matrix_template", "matrix_room"):
            with self.assertRaisesRegex(ValidationError, "“env”"):
                action[name] = "{{ object.env.cr }}"
            with self.assertRaisesRegex(ValidationError, "“_name”"):
                action.create({**values, name: "{{ object._name }}"})

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
