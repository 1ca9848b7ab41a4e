from odoo.tests import TransactionCase, tagged

from ..hooks import uninstall_hook


@tagged("post_install", "-at_install")
class TestHooks(TransactionCase):
    def left_behind(self):
        self.env.cr.execute(
            """
            SELECT proname FROM pg_proc
            WHERE proname LIKE 'matrix_%'
            UNION ALL
            SELECT tgname FROM pg_trigger WHERE tgname LIKE 'matrix_%'
            """
        )
        return self.env.cr.fetchall()

    def test_uninstalling_leaves_no_function_and_no_trigger(self):
        self.assertGreaterEqual(len(self.left_behind()), 4)

        uninstall_hook(self.env)

        self.assertEqual(self.left_behind(), [])

    def test_managers_are_users_and_the_first_administrator_is_one(self):
        admin = self.env.ref("base.user_admin")

        self.assertTrue(admin.has_group("mail_matrix.group_matrix_manager"))
        self.assertTrue(admin.has_group("mail_matrix.group_matrix_user"))
