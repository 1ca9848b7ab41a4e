import re

from odoo.exceptions import UserError
from odoo.modules.module import get_manifest
from odoo.tests import TransactionCase, tagged
from odoo.tools import convert_file

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

    def test_an_update_keeps_the_choice_to_keep_the_log_for_ever(self):
        """The settings delete the parameter where 0 is entered."""
        name, path = "mail_matrix", "data/ir_config_parameter.xml"
        days = [("key", "=", "mail_matrix.log_retention_days")]
        parameters = self.env["ir.config_parameter"]
        for mode, is_there in (("update", False), ("init", True)):
            parameters.search(days).unlink()
            convert_file(self.env, name, path, {}, mode=mode, noupdate=True)
            self.assertEqual(bool(parameters.search(days)), is_there)

    def test_an_update_deletes_the_rules_that_are_no_longer_there(self):
        """Odoo keeps what may not be updated."""
        name = "mail_matrix"
        data = get_manifest(name)["data"]
        security = [path for path in data if re.fullmatch(r"security/.*\.xml", path)]
        former = []
        for model in ("outbox", "lane"):
            rule = {
                "xml_id": f"{name}.matrix_{model}_rule_company_shared",
                "values": {
                    "name": "Former",
                    "model_id": self.env.ref(f"{name}.model_matrix_{model}").id,
                },
                "noupdate": True,
            }
            former.append(self.env["ir.rule"]._load_records([rule]).id)

        # A second time, there is nothing to delete.
        for _time in range(2):
            for path in security:
                convert_file(self.env, name, path, {}, mode="update")
            self.assertFalse(self.env["ir.rule"].browse(former).exists())

    def test_what_others_made_fail_is_not_left_for_a_day(self):
        """Odoo deletes the triggers of a scheduled action that fails."""
        actions = self.env["ir.cron"].with_context(active_test=False)
        ours = actions.search([("cron_name", "=like", "Matrix: %")])
        self.assertGreater(len(ours), 5)
        daily = ours.filtered(lambda action: action.interval_type == "days")

        self.assertEqual(daily, self.env.ref("mail_matrix.matrix_contact_sync_cron"))

    def test_nobody_deletes_the_author_of_notes_from_rooms(self):
        with self.assertRaisesRegex(UserError, "Matrix Bot cannot be deleted"):
            self.env.ref("mail_matrix.user_matrix_bot").unlink()

    def test_managers_are_users_and_the_first_administrator_is_one(self):
        admin = self.env.ref("base.user_admin")

        self.assertTrue(admin.has_group("mail_matrix.group_matrix_manager"))
        self.assertTrue(admin.has_group("mail_matrix.group_matrix_user"))
