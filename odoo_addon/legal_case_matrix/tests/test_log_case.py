from odoo.tests import tagged

from ..hooks import uninstall_hook
from .common import LegalMatrixCase


@tagged("post_install", "-at_install")
class TestLogCase(LegalMatrixCase):
    def deliver(self, res_id, model="legal.case"):
        """Insert a log row as the worker does, which never names a case."""
        self.env.cr.execute(
            """
            INSERT INTO matrix_log
                (backend_id, event_type, res_model, res_id, status, payload)
            VALUES (%s, 'stage_changed', %s, %s, 'ok', 'Moved') RETURNING id
            """,
            [self.backend.id, model, res_id],
        )
        return self.env["matrix.log"].browse(self.env.cr.fetchone()[0])

    def test_the_database_finds_the_case(self):
        log = self.deliver(self.case.id)

        self.assertEqual(log.case_id, self.case)

    def test_deliveries_of_other_records_have_no_case(self):
        self.assertFalse(self.deliver(self.case.id, "res.partner").case_id)
        self.assertFalse(self.deliver(2**31 - 1).case_id)

    def test_logs_open_after_the_case_was_deleted(self):
        log = self.deliver(self.case.id)
        self.case.sudo().unlink()
        self.env.invalidate_all()

        exporter = self.make_user(
            "matrix-exporter",
            "mail_matrix.group_matrix_manager",
            "legal_case.legal_case_group_manager",
            "base.group_allow_export",
        )
        logs = self.env["matrix.log"].with_user(exporter)
        specification = {"payload": {}, "case_id": {"fields": {"display_name": {}}}}
        found = logs.web_search_read([("id", "=", log.id)], specification)
        groups = logs._read_group([("id", "=", log.id)], ["case_id"], ["__count"])
        exported = logs.browse(log.id).export_data(["payload", "case_id"])

        self.assertEqual(found["records"][0]["case_id"], False)
        self.assertEqual(groups, [(self.env["legal.case"], 1)])
        self.assertEqual(exported["datas"], [["Moved", ""]])

    def test_a_delivery_may_come_after_the_case_was_deleted(self):
        case_id = self.case.id
        self.case.sudo().unlink()

        self.assertFalse(self.deliver(case_id).case_id)

    def test_the_trigger_runs_with_a_fixed_search_path(self):
        self.env.cr.execute(
            "SELECT prosecdef, proconfig,"
            " has_function_privilege('public', oid, 'EXECUTE')"
            " FROM pg_proc WHERE proname = 'legal_case_matrix_log_case'"
        )

        self.assertEqual(
            self.env.cr.fetchall(), [(True, ["search_path=pg_catalog"], False)]
        )

    def test_making_it_again_changes_nothing(self):
        log = self.deliver(self.case.id)

        self.env["matrix.log"].init()
        log.invalidate_recordset()

        self.assertEqual(log.case_id, self.case)
        self.assertEqual(self.deliver(self.case.id).case_id, self.case)

    def test_uninstalling_leaves_no_trigger_and_no_function(self):
        uninstall_hook(self.env)

        self.assertFalse(self.deliver(self.case.id).case_id)
        self.env.cr.execute("SELECT FROM pg_proc WHERE proname ~ 'legal_case_matrix'")
        self.assertFalse(self.env.cr.rowcount)
