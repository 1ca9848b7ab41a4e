from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.browser import BrowserCase

from .common import LegalMatrixCase

TEXT = "template_stage_changed"


class TestTextEditor(LegalMatrixCase):
    """What is shown beside a text while it is written."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        editors = cls.env.ref("mail.group_mail_template_editor")
        lawyers = cls.env.ref("legal_case.legal_case_group_manager")
        cls.manager.write(
            {cls.groups_field(): [Command.link(editors.id), Command.link(lawyers.id)]}
        )
        cls.editor = cls.backend.with_user(cls.manager)

    def entries(self, backend, name):
        groups = backend.get_matrix_text_help(name)["groups"]
        return {entry["text"] for group in groups for entry in group["entries"]}

    def test_what_can_be_inserted_is_what_a_text_may_name(self):
        entries = self.entries(self.editor, TEXT)

        self.assertIn("{{ object.partner_id }}", entries)
        self.assertIn("{{ object.stage_id }}", entries)
        self.assertIn("{{ user.name }}", entries)
        self.assertFalse([text for text in entries if "message_ids" in text])
        for text in entries:
            with self.subTest(text=text):
                found = self.editor.check_matrix_text(TEXT, f"Case {text}")
                self.assertFalse(found["problem"])

    def test_a_chatter_text_offers_author_and_text(self):
        entries = self.entries(self.editor, "template_chatter")

        self.assertLessEqual({"{{ author }}", "{{ text }}"}, entries)

    def test_a_chatter_text_is_shown_with_a_case_that_has_a_message(self):
        self.case.message_post(body="The files are complete", message_type="comment")
        self.create_case(name="Newer, and nobody wrote anything")
        self.settle()

        found = self.editor.check_matrix_text("template_chatter", "Read: {{ text }}")

        self.assertFalse(found["problem"])
        self.assertEqual(found["record"], self.case.display_name)
        self.assertIn("Read: The files are complete", found["body"])

    def test_a_chatter_text_without_any_message_raises_no_error(self):
        messages = self.env["mail.message"].search([("model", "=", "legal.case")])
        messages.message_type = "notification"
        self.commit()

        found = self.editor.check_matrix_text("template_chatter", "Read: {{ text }}")

        self.assertFalse(found["problem"] or found["body"])

    def test_a_hearing_offers_formats_for_its_time(self):
        entries = self.entries(self.editor, "template_hearing_created")

        self.assertTrue([text for text in entries if "{{ format_datetime(" in text])

    def test_a_text_is_shown_as_the_room_would_read_it(self):
        found = self.editor.check_matrix_text(TEXT, "Now: {{ object.stage_id.name }}")

        self.assertFalse(found["problem"])
        case = self.env["legal.case"].search([], limit=1)
        self.assertIn(f"Now: {case.stage_id.name}", found["body"])
        self.assertIn("<a href", found["html"])
        self.assertEqual(found["record"], case.display_name)
        self.backend.invalidate_recordset()
        self.assertIn("moved to", self.backend[TEXT], "Nothing is kept")

    def test_it_says_where_a_text_breaks(self):
        for source, part, line, column in (
            ("Case {{ object.nope }}", "nope", 1, 16),
            ("Dear all,\nCase {{ object.name.upper() }}", "object.name.upper()", 2, 9),
            ("{{ object.name }}\n\n {{ object.name", "{{ object.name", 3, 2),
            ("{{ object.name }} {{ }}", "{{ }}", 1, 19),
            ("Case {{ whoever.name }}", "whoever", 1, 9),
        ):
            with self.subTest(source=source):
                found = self.editor.check_matrix_text(TEXT, source)

                self.assertTrue(found["problem"])
                self.assertEqual(source[found["start"] : found["end"]], part)
                self.assertEqual((found["line"], found["column"]), (line, column))

    def test_a_text_of_a_stage_is_shown_with_a_case_in_it(self):
        stage = self.case.stage_id.with_user(self.manager)

        found = stage.check_matrix_text("matrix_template", "Here: {{ object.name }}")

        self.assertIn("Here: ", found["body"])
        self.assertFalse(stage.matrix_template)

    def test_before_the_first_save_there_is_no_preview(self):
        backends = self.env["matrix.backend"].with_user(self.manager)

        found = backends.check_matrix_text(TEXT, "Case {{ object.name }}")

        self.assertFalse(found["problem"] or found["body"])
        self.assertTrue(backends.get_matrix_text_help(TEXT)["default"])

    def test_who_may_not_write_texts_tries_none(self):
        editors = self.env.ref("mail.group_mail_template_editor")
        everybody = self.env.ref("base.group_user")
        everybody.sudo().implied_ids -= editors
        self.manager.write({self.groups_field(): [Command.unlink(editors.id)]})

        found = self.editor.check_matrix_text(TEXT, "{{ object.partner_id.name }}")

        self.assertIn("Only members of the group", found["problem"])
        self.assertFalse(found["body"])

    def test_only_who_sees_the_texts_asks_about_them(self):
        for backend, name in (
            (self.backend.with_user(self.user), TEXT),
            (self.editor, "token_sealed"),
        ):
            with self.assertRaises(AccessError):
                backend.get_matrix_text_help(name)
            with self.assertRaises(AccessError):
                backend.check_matrix_text(name, "Hello")


@tagged("post_install", "-at_install")
class TestTextEditorScreen(BrowserCase, LegalMatrixCase):
    def test_a_manager_writes_a_text_with_the_editor(self):
        groups = (
            "mail.group_mail_template_editor",
            "legal_case.legal_case_group_manager",
        )
        self.manager.write(
            {self.groups_field(): [Command.link(self.env.ref(g).id) for g in groups]}
        )
        self.settle()
        self.browse(
            f"/odoo/action-mail_matrix.matrix_backend_action/{self.backend.id}",
            """
            const write = async (text) => {
                const area = await until(() => one("#o_matrix_text_source"));
                area.value = text;
                area.dispatchEvent(new Event("input", {bubbles: true}));
            };
            const edit = "[name=template_stage_changed] .o_matrix_text_edit";
            await click(".nav-link[name=texts]");
            await click(edit);
            await shows(".o_matrix_text_html", "moved to");
            await shows(".o_matrix_text_plain", "moved to");
            await write("Case\\n{{ object.nope }}");
            await shows(".o_matrix_text_problem mark", "nope");
            await shows(".o_matrix_text_problem", "Line 2, character 11");
            if (!one(".modal-footer .btn-primary").disabled)
                throw new Error("A broken text can be applied");
            await click(".o_matrix_text_reset");
            await shows(".o_matrix_text_plain", "moved to");
            await write("The client is ");
            (await shows(".o_matrix_text_names button", "Client")).click();
            await shows(".o_matrix_text_plain", "The client is Ida Client");
            await click(".modal-footer .btn-primary");
            await until(() => !one(".modal"));
            await click(".o_form_button_save");
            await until(() => one(".o_form_status_indicator_buttons.invisible"));
            """,
            "matrix-manager",
        )
        self.assertEqual(
            self.backend.template_stage_changed,
            "The client is {{ object.partner_id }}",
        )
