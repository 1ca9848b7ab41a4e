from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import TicketCase


@tagged("post_install", "-at_install")
class TestLogAccess(TicketCase):
    """Every role reads what it may: in lists, counts, groups and exports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.branch = cls.env["res.company"].create({"name": "Branch"})
        cls.branch_backend = cls.backend.copy(
            {"name": "Branch", "company_id": cls.branch.id, "is_active": True}
        )
        cls.branch_ticket = cls.ticket.copy(
            {"company_id": cls.branch.id, "matrix_room_id": "!branch"}
        )
        branch = {
            "company_id": cls.branch.id,
            "company_ids": [Command.set(cls.branch.ids)],
        }
        manager = "mail_matrix.group_matrix_manager"
        cls.branch_manager = cls.make_user("branch-manager", manager, **branch)
        cls.clear_outbox()
        for record in (cls.ticket, cls.branch_ticket):
            record._matrix_enqueue("manual", record.name)
        cls.rows = cls.log_all()
        cls.own, cls.branchs = cls.rows
        cls.dm = cls.log_row(
            backend_id=cls.backend.id,
            matrix_user_id="@client:example.org",
            user_id=cls.user.id,
            event_type="dm",
            payload="Private",
        )

    def readable(self, user):
        """Return the rows that ``user`` finds, after all ways to look agree."""
        logs = self.env["matrix.log"].with_user(user)
        found = logs.search([])
        self.assertEqual(logs.search_count([]), len(found))
        self.assertEqual(sum(self.counts_by(logs, "event_type")), len(found))
        pages = logs.search([], limit=1) | logs.search([], offset=1)
        self.assertEqual(pages, found)
        self.assertEqual(len(logs.search_read([], ["payload"])), len(found))
        for row in self.rows | self.dm:
            one = row.with_user(user)
            self.env.invalidate_all()
            if row in found:
                one.read(["payload"])
                one.check_access("read")
            else:
                for look in (
                    lambda one=one: one.read(["payload"]),
                    lambda one=one: one.payload,
                    lambda one=one: one.check_access("read"),
                    lambda one=one: one.web_read({"payload": {}}),
                ):
                    with self.assertRaises(AccessError):
                        look()
        return found.sudo()

    def test_a_user_reads_his_records_and_his_direct_messages(self):
        self.assertEqual(self.readable(self.user), self.own | self.dm)

        colleague = self.make_user("colleague", "mail_matrix.group_matrix_user")
        self.assertEqual(self.readable(colleague), self.own)

    def test_a_manager_reads_his_companies(self):
        self.assertEqual(self.readable(self.manager), self.own | self.dm)
        # The ticket belongs to no company; the direct message is of another one's user.
        self.assertEqual(self.readable(self.branch_manager), self.own | self.branchs)

    def test_records_are_not_read_where_the_company_of_the_backend_decides(self):
        """A company's whole log may be about many records."""
        logs = self.env["matrix.log"].with_user(self.branch_manager)
        looked_at = []
        judge = type(logs)._managed_ids

        def watch(rows, model, res_ids):
            looked_at.extend(res_ids)
            return judge(rows, model, res_ids)

        with patch.object(type(logs), "_managed_ids", watch):
            found = logs.search([("id", "in", self.rows.ids)])

        self.assertEqual(found.sudo(), self.own | self.branchs)
        self.assertEqual(looked_at, self.ticket.ids)

    def test_others_read_nothing(self):
        portal = self.make_user("matrix-portal", "base.group_portal")
        public = self.env.ref("base.public_user")
        employee = self.make_user("employee", "base.group_user")
        for user in (portal, public, employee):
            logs = self.env["matrix.log"].with_user(user)
            for look in (
                lambda logs=logs: logs.search([]),
                lambda logs=logs: logs.search_count([]),
                lambda logs=logs: logs.browse(self.own.id).read(["payload"]),
                lambda logs=logs: self.counts_by(logs, "status"),
            ):
                with self.assertRaises(AccessError):
                    look()

    def test_nobody_changes_what_the_worker_writes(self):
        waiting = self.ticket._matrix_enqueue("manual", "Waiting")
        outbox = self.env["matrix.outbox"].search([("txn_id", "=", waiting)])
        for user in (self.user, self.manager):
            for records, values in (
                (self.own.with_user(user), {"payload": "Forged"}),
                (outbox.with_user(user), {"room_id": "!mine"}),
            ):
                with self.assertRaises(AccessError):
                    records.write(values)
                with self.assertRaises(AccessError):
                    records.create(values)
                with self.assertRaises(AccessError):
                    records.unlink()

    def test_exports_are_bounded_alike(self):
        self.let_export(self.user)
        logs = self.env["matrix.log"].with_user(self.user)

        rows = logs.search([]).export_data(["payload", "backend_id/name"])["datas"]
        self.assertEqual(len(rows), 2)
        with self.assertRaises(AccessError):
            self.branchs.with_user(self.user).export_data(["payload"])

    def test_logs_open_after_what_they_name_was_deleted(self):
        gone = self.make_user("gone", "mail_matrix.group_matrix_user")
        self.env.cr.execute(
            "UPDATE matrix_log SET user_id = %s, attachment_id = 987654", [gone.id]
        )
        self.env.cr.execute("DELETE FROM res_users WHERE id = %s", [gone.id])
        self.ticket.unlink()
        self.branch_backend.unlink()
        self.manager.company_ids = self.env["res.company"].search([])
        self.env.invalidate_all()
        logs = self.env["matrix.log"].with_user(self.manager)
        fields = {name: {} for name in logs.fields_get()}

        opened = logs.web_search_read([], fields)
        self.assertEqual(opened["length"], 3)
        self.assertFalse(opened["records"][0]["user_id"])
        self.assertFalse(opened["records"][0]["record_ref"])
        for group in ("user_id", "backend_id", "status", "event_type", "date:day"):
            self.assertEqual(sum(self.counts_by(logs, group)), 3)
        self.let_export(self.manager)
        logs.search([]).export_data(["payload", "user_id/name", "backend_id/name"])
        branch_logs = self.branchs.with_user(self.branch_manager)
        # Its backend is gone, its ticket is not: the record decides.
        self.assertEqual(branch_logs.read(["payload"])[0]["id"], self.branchs.id)

    def test_a_row_of_a_model_that_is_gone_reads_as_text(self):
        row = self.log_row(
            backend_id=self.backend.id,
            res_model="no.such.model",
            res_id=1,
            user_id=self.user.id,
        )
        found = row.with_user(self.manager).read(["record_ref", "res_model"])[0]

        self.assertFalse(found["record_ref"])
        self.assertNotIn(row, self.env["matrix.log"].with_user(self.user).search([]))

    def test_the_record_opens_for_who_may_read_it(self):
        action = self.own.with_user(self.user).action_open_record()

        self.assertEqual(action["res_model"], self.ticket._name)
        self.assertEqual(action["res_id"], self.ticket.id)
        self.assertEqual(
            self.own.with_user(self.user).record_ref, self.ticket.with_user(self.user)
        )
