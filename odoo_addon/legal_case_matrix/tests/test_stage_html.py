from odoo.exceptions import ValidationError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tools import template_html

from .common import LegalMatrixCase

AMOUNT = "{{ format_amount(object.hearing_count, object.company_id.currency_id) }}"


@tagged("post_install", "-at_install")
class TestStageHtml(LegalMatrixCase):
    """A stage can have its text with formatting."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.court = cls.stages[1]

    def moved(self):
        self.case.stage_id = self.court
        self.commit()
        self.assertFalse(self.failures())
        (row,) = self.outbox()
        return row["content"]

    def test_values_are_escaped_and_only_tags_of_matrix_are_sent(self):
        self.case.name = "<img src=x> & Co."
        self.settle()
        self.court.matrix_template_html = (
            '<p class="x" style="color:red">Case <b>{{ object.name }}</b></p>'
            "<ul><li>{{ object.partner_id.name }}</li></ul>"
        )
        content = self.moved()
        html = content["formatted_body"]
        self.assertTrue(
            html.startswith(
                "Case <b>&lt;img src=x&gt; &amp; Co.</b><ul><li>Ida Client</li></ul><a"
            ),
            html,
        )
        self.assertEqual(content["format"], "org.matrix.custom.html")
        self.assertIn("Open in Odoo</a>", html)
        self.assertIn("Case <img src=x> & Co.", content["body"])
        self.assertNotIn("<ul>", content["body"])

    def test_what_looks_like_the_place_of_a_value_is_not_one(self):
        place = "&#xE000;0&#57344;"
        source = (
            f"<p>{place} {{{{ object.name }}}} <a href='https://x/{place}'>x</a></p>"
        )
        html = template_html.render(source, self.case, "https://odoo.example").html
        self.assertEqual(html, '0 Ida v. Rest <a href="https://x/0">x</a>')

    def test_a_plain_text_beside_it_is_the_plain_text(self):
        self.court.matrix_template = "{{ object.name }}: court"
        self.court.matrix_template_html = "<p><b>{{ object.name }}</b></p>"
        content = self.moved()
        self.assertEqual(content["body"], "Ida v. Rest: court")
        self.assertTrue(content["formatted_body"].startswith("<b>Ida v. Rest</b><br/>"))

    def test_an_empty_editor_means_the_text_of_the_backend(self):
        self.court.matrix_template_html = "<p><br></p>"
        self.assertEqual(self.moved()["body"], "Case Ida v. Rest moved to Court")

    def test_dates_and_amounts_are_written_in_the_language_of_the_company(self):
        self.env["res.lang"]._activate_lang("de_DE")
        company = self.case.with_env(self.env).company_id
        company.partner_id.write({"lang": "de_DE", "tz": "Europe/Berlin"})
        company.currency_id = self.env.ref("base.EUR")
        self.create_hearing(date_start="2030-05-01 07:00:00")
        self.settle()
        self.court.matrix_template_html = (
            "<p>{{ format_datetime(object.next_hearing_date, dt_format='d. MMMM y, "
            "HH:mm') }}<br/><i>" + AMOUNT + "</i></p>"
        )
        content = self.moved()
        self.assertIn("1. Mai 2030, 09:00 MESZ", content["body"])
        self.assertIn("<i>1,00 €</i>", content["formatted_body"])

    def test_the_editor_s_blanks_and_lines_in_values_are_kept(self):
        self.case.name = "Ida\nv. Rest"
        self.settle()
        self.court.matrix_template_html = "<p>{{&nbsp;object.name }}&nbsp;</p>"
        self.assertIn("Ida<br>v. Rest", self.moved()["formatted_body"])

    def test_what_is_not_allowed_in_a_text_is_refused_here_too(self):
        for text in (
            "{{ object.nope }}",
            "{{ object.matrix_room_alias }}",
            "{{ object.unlink() }}",
            "{{ object.<b>name</b> }}",
        ):
            with self.subTest(text), self.assertRaises(ValidationError) as caught:
                self.court.matrix_template_html = f"<p>Case <i>{text}</i></p>"
                self.env.flush_all()
            self.assertIn("Court", str(caught.exception))

    def test_the_mentioned_person_comes_first(self):
        anna = self.make_user("anna", matrix_user_id="@anna:example.org")
        self.backend.mention_stage_changed = True
        self.case.user_id = anna
        self.env["matrix.room.person"].create(
            {
                "res_model": "legal.case",
                "res_id": self.case.id,
                "room_id": self.case.matrix_room_id,
                "user_id": anna.id,
                "account": anna.matrix_user_id,
                "state": "in",
            }
        )
        self.settle()
        self.court.matrix_template_html = "<p><b>{{ object.name }}</b></p>"
        content = self.moved()
        self.assertEqual(content["body"], "anna: Ida v. Rest")
        self.assertTrue(
            content["formatted_body"].startswith(
                '<a href="https://matrix.to/#/@anna:example.org">anna</a>: <b>'
            )
        )

    def test_the_preview_shows_both(self):
        self.court.matrix_template_html = "<p><b>{{ object.name }}</b></p>"
        self.case.stage_id = self.court
        preview = self.env["matrix.preview"].create(
            {
                "backend_id": self.backend.id,
                "event_type": "stage_changed",
                "record_ref": f"legal.case,{self.case.id}",
            }
        )
        self.assertEqual(preview.body, "Ida v. Rest")
        self.assertIn("<b>Ida v. Rest</b>", preview.html)
