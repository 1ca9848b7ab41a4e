from odoo.tests import Form, tagged

from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestViews(LegalMatrixCase):
    def form(self, user):
        return self.env["legal.case"].with_user(user).get_view(view_type="form")["arch"]

    def test_the_form_sends_what_was_typed(self):
        with Form(self.case) as form:
            form.matrix_message = "Please bring the files."
        self.case.action_matrix_send_message()

        self.assertEqual(self.bodies(), ["Please bring the files."])

    def test_a_pasted_alias_is_where_it_belongs_before_it_is_saved(self):
        room = self.case.matrix_room_id
        with Form(self.case) as form:
            form.matrix_room_id = "https://matrix.to/#/%23ida:example.org"

            self.assertEqual(form.matrix_room_id, room)
            self.assertEqual(form.matrix_room_alias, "#ida:example.org")
        self.assertEqual(self.case.matrix_room_id, room)

    def test_who_has_nothing_to_do_with_matrix_sees_nothing_of_it(self):
        outsider = self.make_user("outsider", "legal_case.legal_case_group_user")

        self.assertIn("matrix_room_id", self.form(self.lawyer))
        self.assertNotIn("matrix", self.form(outsider))

    def test_who_has_nothing_to_do_with_matrix_can_still_work(self):
        outsider = self.make_user("outsider", "legal_case.legal_case_group_manager")

        self.case.with_user(outsider).stage_id = self.stages[1]

        self.assertEqual(self.said(), ["Case Ida v. Rest moved to Court"])
