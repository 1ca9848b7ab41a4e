from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged
from odoo.tools.translate import code_translations

from .common import ROOM, LegalMatrixCase

EDITORS = "mail.group_mail_template_editor"


@tagged("post_install", "-at_install")
class TestCaseEvents(LegalMatrixCase):
    def test_a_new_case_is_posted(self):
        case = self.create_case(name="Ida v. Moon")

        self.assertEqual(self.said(), ["Case Ida v. Moon created for Ida Client"])
        (row,) = self.outbox()
        self.assertEqual(row["event_type"], "case_created")
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual((row["res_model"], row["res_id"]), ("legal.case", case.id))
        self.assertEqual(row["user_id"], self.lawyer.id)

    def test_a_new_case_is_posted_before_its_hearings(self):
        hearing = {"name": "Oral", "date_start": "2030-05-01 07:00:00"}
        for name in ("One", "Two"):
            self.create_case(
                name=name,
                hearing_ids=[Command.create({**hearing}), Command.create({**hearing})],
            )
        self.commit()

        self.assertEqual(
            [row["event_type"] for row in self.outbox()],
            ["case_created", "hearing_created", "hearing_created"] * 2,
        )
        self.assertIn("Case One created", self.bodies()[0])
        self.assertIn("Case Two created", self.bodies()[3])

    def test_a_move_to_another_stage_is_posted(self):
        self.case.stage_id = self.stages[1]

        self.assertEqual(self.said(), ["Case Ida v. Rest moved to Court"])
        self.assertEqual(self.outbox()[0]["event_type"], "stage_changed")

    def test_staying_in_the_stage_is_not_posted(self):
        self.case.write({"stage_id": self.stages[0].id, "name": "Renamed"})

        self.assertEqual(self.said(), [])

    def test_a_stage_that_comes_with_another_company_is_posted(self):
        other = self.env["res.company"].create({"name": "Other"})
        own = self.env["legal.case.stage"].create(
            {"name": "Ours", "company_id": self.env.company.id}
        )
        self.case.stage_id = own
        self.settle()

        self.case.sudo().write({"company_id": other.id, "user_id": False})

        self.assertEqual(self.said(), ["Case Ida v. Rest moved to Intake"])

    def test_a_stage_may_have_its_own_text(self):
        words = "{{ object.name }} is in {{ object.stage_id.name }}"
        self.stages[1].matrix_template = words

        self.case.stage_id = self.stages[1]
        self.assertEqual(self.said(), ["Ida v. Rest is in Court"])

        self.clear_outbox()
        self.case.stage_id = self.stages[0]
        self.assertEqual(self.said(), ["Case Ida v. Rest moved to Intake"])

    def test_a_new_backend_has_texts_in_the_language_of_its_creator(self):
        self.env["res.lang"]._activate_lang("de_DE")
        backends = self.env["matrix.backend"]
        names = [
            "template_case_created",
            "template_stage_changed",
            "template_hearing_created",
            "template_hearing_changed",
            "template_hearing_cancelled",
        ]
        english = backends.default_get(names)
        german = {text: f"{text} (deutsch)" for text in english.values()}

        with patch.object(
            code_translations, "get_python_translations", return_value=german
        ):
            backend = backends.with_context(lang="de_DE").create(
                {"name": "Kanzlei", "homeserver_url": "https://matrix.example.org"}
            )

        for name in names:
            self.assertEqual(backend[name], f"{english[name]} (deutsch)")

    def test_the_texts_that_come_along_are_valid_in_each_language(self):
        languages = ("en_US", "de_DE")
        for language in languages:
            self.env["res.lang"]._activate_lang(language)
            backend = self.env["matrix.backend"].with_context(lang=language)
            texts = backend._matrix_own_texts()
            self.assertGreater(len(texts), 6)
            for name, text in texts.items():
                scope = backend._matrix_text_scope(name)
                self.assertFalse(backend._matrix_text_error(text, *scope), text)
        self.assertIn("Akte", texts["template_case_created"])

    def test_a_failing_text_is_named_with_its_place(self):
        self.backend.template_stage_changed = "{{ object.name < 1 }}"
        self.stages[1].matrix_template = "{{ object.name < 1 }}"

        for stage, place in (
            (self.stages[1], "Stage “Court”: "),
            (self.stages[0], "Backend “Office”: "),
        ):
            self.clear_outbox()
            self.case.stage_id = stage
            self.assertEqual(self.said(), [])
            (failure,) = self.failures()
            self.assertIn(place, failure["error_message"])

    def test_only_managers_write_the_text_of_a_stage(self):
        fields = self.env["legal.case.stage"].with_user(self.lawyer).fields_get()

        self.assertNotIn("matrix_template", fields)

    def test_who_writes_the_text_of_a_stage_must_be_a_template_editor(self):
        stage_groups = (
            "legal_case.legal_case_group_manager",
            "mail_matrix.group_matrix_manager",
        )
        manager = self.make_user("stage-manager", *stage_groups)
        editor = self.make_user(
            "stage-editor", *stage_groups, "mail.group_mail_template_editor"
        )
        # A database may make every employee an editor.
        self.env["ir.config_parameter"].set_param("mail.restrict.template.rendering", 1)
        manager.write({self.groups_field(): [(3, self.env.ref(EDITORS).id)]})
        stage = self.stages[0]

        with self.assertRaises(AccessError):
            stage.with_user(manager).matrix_template = "{{ object.name }}"
        stage.with_user(editor).matrix_template = "{{ object.name }}"

        self.assertEqual(stage.matrix_template, "{{ object.name }}")

    def test_an_invalid_text_of_a_stage_is_refused_when_it_is_saved(self):
        for text in (
            "{{ object. }}",
            "{{ object.matrix_message_count }}",
            "{{ object.env.cr }}",
        ):
            with self.assertRaises(ValidationError):
                self.stages[0].matrix_template = text

    def test_messages_are_in_the_language_of_the_company(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.env.company.partner_id.lang = "de_DE"
        self.stages[1].with_context(lang="de_DE").name = "Gericht"

        self.case.stage_id = self.stages[1]
        self.create_hearing(date_start="2030-05-01 07:00:00")

        case_text, hearing_text = self.said()
        self.assertEqual(case_text, "Case Ida v. Rest moved to Gericht")
        self.assertIn("Mi., 1 Mai 2030", hearing_text)

    def test_each_flag_silences_its_own_event(self):
        self.backend.notify_stage_changed = False
        self.backend.notify_hearing_created = False

        self.case.stage_id = self.stages[1]
        hearing = self.create_hearing()
        self.assertEqual(self.said(), [])
        hearing.action_cancel()

        self.assertEqual(len(self.said()), 1)

    def test_a_notice_stays_silent_in_the_room(self):
        self.backend.message_type_stage_changed = "m.notice"

        self.case.stage_id = self.stages[1]
        self.commit()

        self.assertEqual(self.outbox()[0]["content"]["msgtype"], "m.notice")

    def test_names_are_text_and_not_html(self):
        self.create_case(name='<img src="x"> & {{ 1 + 1 }}')
        self.commit()

        (row,) = self.outbox()
        self.assertIn('<img src="x"> & {{ 1 + 1 }}', row["content"]["body"])
        self.assertIn("&lt;img", row["content"]["formatted_body"])
        self.assertNotIn("<img", row["content"]["formatted_body"])

    def test_a_rollback_leaves_nothing(self):
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.case.stage_id = self.stages[1]
            self.create_hearing()
            self.create_case()
            raise ZeroDivisionError

        self.assertEqual(self.said(), [])
        self.assertEqual(self.failures(), [])

    def test_a_mass_edit_is_one_insert(self):
        cases = self.env["legal.case"].create(
            [{"name": f"Case {n}", "partner_id": self.partner.id} for n in range(500)]
        )
        cases.matrix_room_id = ROOM
        self.settle()
        inserts = []
        execute = type(self.env.cr).execute

        def counting(cr, query, *args, **kwargs):
            text = getattr(query, "code", query)
            if "INSERT INTO matrix_outbox" in str(text):
                inserts.append(text)
            return execute(cr, query, *args, **kwargs)

        cases.stage_id = self.stages[1]
        self.patch(type(self.env.cr), "execute", counting)
        self.commit()

        self.assertEqual(len(inserts), 1)
        self.assertEqual(len(self.outbox()), 500)
