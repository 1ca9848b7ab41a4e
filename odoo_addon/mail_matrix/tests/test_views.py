from odoo.tests import tagged

from .common import MatrixCase


@tagged("post_install", "-at_install")
class TestViews(MatrixCase):
    """The screens fit whoever opens them."""

    def test_no_view_shows_what_depends_on_a_field_that_its_reader_may_not_see(self):
        data = self.env["ir.model.data"].search(
            [("module", "=", "mail_matrix"), ("model", "=", "ir.ui.view")]
        )
        views = self.env["ir.ui.view"].browse(data.mapped("res_id"))
        self.assertIn(self.env.ref("mail_matrix.res_users_view_list_matrix"), views)

        # The check that Odoo runs at install: it logs a warning for each of them.
        with self.assertNoLogs("odoo.addons.base.models.ir_ui_view", "WARNING"):
            views._check_xml()

    def test_red_texts_can_be_read_on_white_and_on_dark(self):
        data = self.env["ir.model.data"].search(
            [("module", "=", "mail_matrix"), ("model", "=", "ir.ui.view")]
        )
        for view in self.env["ir.ui.view"].browse(data.mapped("res_id")):
            self.assertNotRegex(view.arch, r"text-danger(?!-emphasis)", view.name)

    def test_only_matrix_users_are_offered_to_write_to_a_user(self):
        outsider = self.make_user("outsider", "base.group_user")
        for user, is_offered in ((self.user, True), (outsider, False)):
            users = self.env["res.users"].with_user(user)
            for kind, view in (
                ("list", "mail_matrix.res_users_view_list_matrix"),
                ("form", "base.view_users_form"),
            ):
                arch = users.get_view(self.env.ref(view).id, kind)["arch"]

                self.assertEqual("action_start_matrix_dm" in arch, is_offered, view)
                self.assertEqual('name="matrix_user_id"' in arch, is_offered, view)
