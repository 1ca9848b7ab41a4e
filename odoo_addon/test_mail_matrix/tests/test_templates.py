import random

from odoo.exceptions import ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools.template import render
from odoo.addons.mail_matrix.tools.template_check import check
from odoo.addons.mail_matrix.tools.template_syntax import FUNCTIONS, TemplateError

from .common import TicketCase
from .hostile_texts import hostile_expressions, hostile_texts

VARIABLES = ("author", "text")


@tagged("post_install", "-at_install")
class TestTemplates(TicketCase):
    def kind(self, source):
        with self.assertRaises(TemplateError, msg=source) as caught:
            check(self.env, source, self.ticket._name, VARIABLES)
        return caught.exception.kind

    def test_every_hostile_text_is_refused(self):
        texts = hostile_texts()

        self.assertGreater(len(texts), 300)
        for source in texts:
            self.kind(source)

    def test_a_hostile_text_that_got_stored_runs_nothing(self):
        """Rendering judges anew: a row may have been written by SQL or by an import of
        an older version."""
        for source in hostile_texts():
            with self.assertRaises(TemplateError, msg=source):
                # A part that decides may come first: then the rest is not looked at.
                said = render(source, self.ticket, author="Ann", text="Hello")
                self.assertNotIn("secret", said, source)
                check(self.env, source, self.ticket._name, VARIABLES)

    def test_no_name_of_a_text_leads_beyond_fields(self):
        names = {"object", "user", *VARIABLES, *FUNCTIONS}
        values = [self.ticket, self.env.user, "text", render, self.env]
        attributes = {name for value in values for name in dir(value)}
        readable = {
            name for records in (self.ticket, self.env.user) for name in records._fields
        }
        for name in sorted(names):
            for attribute in sorted(attributes - readable):
                self.kind(f"{{{{ {name}.{attribute} }}}}")
            if name not in FUNCTIONS:
                self.kind(f"{{{{ {name}() }}}}")
            self.kind(f"{{{{ {name}[0] }}}}")
            self.kind(f"{{{{ {name}.__class__ }}}}")

    def test_random_chains_name_a_field_or_are_refused(self):
        """Whatever passes the check is made of readable fields alone."""
        chance = random.Random(4711)
        words = [
            *dir(self.ticket),
            *dir(self.env),
            *dir(render),
            *self.env["res.users"]._fields,
            *self.env["res.partner"]._fields,
            *self.env["mail.message"]._fields,
        ]
        roots = ["object", "user", *VARIABLES, *FUNCTIONS, "env", "ctx", "self"]
        shapes = ("{}", "{}()", "{}[0]", "{}['name']", "not {}", "{} or 1", "({})")
        passed = 0
        for _round in range(3000):
            steps = chance.choices(words, k=chance.randint(0, 4))
            path = ".".join([chance.choice(roots), *steps])
            source = "{{ " + chance.choice(shapes).format(path) + " }}"
            try:
                check(self.env, source, self.ticket._name, VARIABLES)
            except TemplateError:
                continue
            passed += 1
            self.assert_is_readable(path)
            said = render(source, self.ticket, author="Ann", text="Hello")
            self.assertIsInstance(said, str)
        self.assertGreater(passed, 20)

    def assert_is_readable(self, path):
        root, *names = path.split(".")
        model = {"object": self.ticket._name, "user": "res.users"}.get(root)
        for name in names:
            field = self.env[model]._fields[name]
            self.assertFalse(field.groups, path)
            model = field.comodel_name

    def test_a_restricted_field_is_refused_by_its_name(self):
        for source in (
            "{{ object.secret }}",
            "{{ user.totp_secret }}",
            "Fine {{ object.name }} {{ object.secret and 'yes' }}",
            "{{ 'x' if object.partner_id.name in ('a', object.secret) else 1 }}",
        ):
            self.assertEqual(self.kind(source), "restricted")
        with self.assertRaisesRegex(ValidationError, "test.matrix.ticket.secret"):
            self.backend.template_ticket_moved = "{{ object.secret }}"

    def test_a_text_shows_words_numbers_dates_and_names(self):
        ann, bob = (self.make_user(name, name=name) for name in ("Ann", "Bob"))
        self.ticket.write(
            {"partner_id": ann.partner_id.id, "user_ids": [(6, 0, (ann | bob).ids)]}
        )
        for source, said in (
            ("", ""),
            ("No expression", "No expression"),
            ("{{ object.name }} is {{ object.stage }}", "Leaking tap is New"),
            ("{{ object }}", "Leaking tap"),
            ("{{object.name}}", "Leaking tap"),
            ("{{ object.partner_id }}", "Ann"),
            ("{{ object.partner_id.name or 'nobody' }}", "Ann"),
            ("{{ object.partner_id.email or 'nobody' }}", "Ann@example.org"),
            ("{{ object.company_id.name or 'nobody' }}", "nobody"),
            ("{{ object.company_id.name ||| nobody }}", "nobody"),
            ("{{ object.user_ids }}", "Ann, Bob"),
            ("{{ object.user_ids.name }}", "Ann, Bob"),
            ("{{ object.user_ids.partner_id.name }}", "Ann, Bob"),
            ("{{ 'Ann' in object.user_ids.name and 'hers' }}", "hers"),
            ("{{ object.user_ids.active }}", "True, True"),
            ("{{ object.id }}", f"{self.ticket.id}"),
            ("{{ object.partner_id.active }}", "True"),
            ("{{ object.message_ids and 'written' }}", "written"),
            ("{{ object.stage and ' at ' + object.stage }}", " at New"),
            ("{{ ' at ' + object.partner_id }}", " at Ann"),
            ("{{ 'No. ' + object.id }}", f"No. {self.ticket.id}"),
            ("{{ 'x' + object.company_id.name }}", "x"),
            ("{{ 1 + 2 }}", "3"),
            ("{{ -1 }}", "-1"),
            (
                "{{ object.name if object.stage in ('New', 'Done') else '-' }}",
                "Leaking tap",
            ),
            ("{{ object.name if object.stage not in ['New'] else '-' }}", "-"),
            ("{{ object.name if not object.stage == 'New' else '-' }}", "-"),
            ("{{ 'late' if object.id > 0 and object.id != 7.5 else '' }}", "late"),
            ("{{ 'none' if object.company_id == False else '' }}", "none"),
            (
                "{{ 1 if object.partner_id == object.user_ids.partner_id else 'no' }}",
                "no",
            ),
            ("{{ False }}{{ None }}{{ 0 }}", ""),
            ("{{ 'tap' in object.name and 'tap' }}", "tap"),
            ("a{{ 'b' }}c\n{{ 'd' }}", "abc\nd"),
            ("{ object.name } }} {", "{ object.name } }} {"),
        ):
            check(self.env, source, self.ticket._name)
            self.assertEqual(render(source, self.ticket), said, source)

    def test_functions_write_as_the_reader_s_country_does(self):
        visit = self.env["test.matrix.visit"].create(
            {"ticket_id": self.ticket.id, "date": "2026-07-01 08:00:00"}
        )
        visit = visit.with_context(tz="Europe/Vienna", lang="en_US")
        pattern = "d MMM y, HH:mm"
        for source, said in (
            (
                f"{{{{ format_datetime(object.date, dt_format='{pattern}') }}}}",
                "1 Jul 2026, 10:00 CEST",
            ),
            (
                f"{{{{ format_datetime(object.date, 'UTC', '{pattern}') }}}}",
                "1 Jul 2026, 08:00 UTC",
            ),
            (
                "{{ format_datetime(object.date, tz='America/New_York', "
                f"dt_format='{pattern}') }}}}",
                "1 Jul 2026, 04:00 EDT",
            ),
            (
                "{{ format_datetime(object.date, dt_format=\"HH 'o''clock' zzzz\") }}",
                "10 o'clock Central European Summer Time",
            ),
            ("{{ format_time(object.date, time_format='HH:mm') }}", "10:00 CEST"),
            ("{{ format_date(object.date) }}", "07/01/2026"),
            ("{{ format_date(object.date, lang_code='en_US') }}", "07/01/2026"),
            ("{{ format_duration(1.5) }}", "01:30"),
            ("{{ format_datetime(object.ticket_id.create_date) and 'x' }}", "x"),
            ("{{ format_date(object.ticket_id.company_id.create_date) or '-' }}", "-"),
        ):
            check(self.env, source, visit._name)
            self.assertEqual(render(source, visit), said, source)
        self.assertRegex(render("{{ object.date }}", visit), "2026.* CEST$")

    def test_the_error_says_the_place_and_the_fix(self):
        for source, words in (
            ("{{ object.read() }}", "Ticket Moved.*object.read().*Methods cannot"),
            ("{{ format_datetime.args[0].cr }}", r"format_datetime\.args\[0\].*Only f"),
            ("{{ object['name'] }}", r"“object\['name'\]”.*Texts can use fields"),
            ("{{ object.naem }}", r"“test.matrix.ticket.naem”.*technical name"),
            ("{{ len(object.name) }}", "Only these functions.*format_date"),
            ("{{ object.name( }}", "Write expressions as {{ object.name }}"),
            ("Hello {{ object.name", "“{{ object.name” is not valid. Two closing"),
            ("{{ text }}", "“text” in {{ text }}.*known here"),
            ("{{ object.partner_id.image_1920 }}", "cannot be shown as text"),
            ("{{ format_datetime(object.name) }}", "of the kind that they format"),
            ("{{ 1 < 2 < 3 }}", "Compare two values"),
        ):
            with self.assertRaisesRegex(ValidationError, words):
                self.backend.template_ticket_moved = source

    def test_a_text_is_held_to_the_models_that_its_event_happens_to(self):
        text = "{{ object.partner_id.name }}"

        self.backend.template_ticket_moved = text

        with self.assertRaisesRegex(ValidationError, "test.matrix.visit.partner_id"):
            self.backend.template_visit_created = text

    def test_only_a_text_of_the_chatter_knows_author_and_text(self):
        self.backend.template_chatter = "{{ author }} wrote: {{ text }}"

        with self.assertRaisesRegex(ValidationError, "author"):
            self.backend.template_test = "{{ author }}"

    def test_server_actions_and_their_rooms_are_checked_alike(self):
        values = {
            "name": "Tell",
            "model_id": self.env["ir.model"]._get_id(self.ticket._name),
            "state": "matrix",
            "matrix_template": "{{ object.name }}",
        }
        action = self.env["ir.actions.server"].create(values)
        for name in ("matrix_template", "matrix_room"):
            for text in ("{{ object.env.cr }}", "{{ text }}", "{{ object._name }}"):
                with self.assertRaisesRegex(ValidationError, "Tell"):
                    action[name] = text
                with self.assertRaisesRegex(ValidationError, "Tell"):
                    action.create({**values, name: text})
        # A text is judged when it comes into use, too.
        dormant = action.create(
            {**values, "state": "code", "matrix_template": "{{ x }}"}
        )
        with self.assertRaises(ValidationError):
            dormant.state = "matrix"

    def test_a_text_that_an_upgrade_made_invalid_is_named(self):
        self.assertNotIn("Office", self.backend.text_problems or "")
        self.env.cr.execute(
            "UPDATE matrix_backend SET template_ticket_moved = %s WHERE id = %s",
            ["{{ ', '.join(object.user_ids.mapped('name')) }}", self.backend.id],
        )
        self.backend.invalidate_recordset()

        problems = self.backend.with_user(self.manager).text_problems
        with self.assertLogs("odoo.addons.mail_matrix", "WARNING") as logs:
            self.env["matrix.backend"]._matrix_log_invalid_texts()

        self.assertIn("Office", problems)
        self.assertIn("Methods cannot be called", problems)
        self.assertIn("object.user_ids.mapped", "".join(logs.output))
        # It only matters to the reader of the log.
        self.ticket.stage = "Done"
        self.commit()
        self.assertIn("Methods cannot", self.failures()[0]["error_message"])

    def test_the_work_for_one_text_is_bounded(self):
        self.ticket.name = "x" * 1_000_000
        source = "{{ object.name + object.name }}" * 500

        self.assertLess(len(render(source, self.ticket)), 62 * 1024)
        self.assertGreater(len(hostile_expressions()), 300)
