import psycopg2

from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import MatrixCase


@tagged("post_install", "-at_install")
class TestBackend(MatrixCase):
    def test_a_manager_sets_up_a_backend(self):
        backend = (
            self.env["matrix.backend"]
            .with_user(self.manager)
            .create(
                {
                    "name": "Second",
                    "homeserver_url": " https://matrix.example.org/base/ ",
                    "default_room_id": " !new:example.org ",
                }
            )
        )

        self.assertEqual(backend.homeserver_url, "https://matrix.example.org/base")
        self.assertEqual(backend.default_room_id, "!new:example.org")
        self.assertEqual(backend.company_id, self.env.company)

    def test_an_invalid_address_is_refused_by_name(self):
        for url in (
            "ftp://matrix.example.org",
            "https://",
            "https://matrix.example.org/?a=1",
            "https://matrix.example.org/#x",
            "https://matrix.exa mple.org",
            "https://matrix.example.org:port",
        ):
            with self.assertRaises(ValidationError) as caught:
                self.backend.homeserver_url = url
            self.assertIn(url, str(caught.exception))

    def test_an_address_without_a_scheme_means_https(self):
        for entered in ("matrix.example.org", "localhost:8448/"):
            self.backend.homeserver_url = entered
            expected = f"https://{entered.rstrip('/')}"
            self.assertEqual(self.backend.homeserver_url, expected)

    def test_credentials_in_the_address_are_refused_and_not_repeated(self):
        with self.assertRaises(ValidationError) as caught:
            self.backend.homeserver_url = "https://bot:hunter2@matrix.example.org"

        self.assertNotIn("hunter2", str(caught.exception))

    def test_a_default_room_must_be_a_room_id(self):
        with self.assertRaisesRegex(ValidationError, "#new:example.org"):
            self.backend.default_room_id = "#new:example.org"

    def test_expiry_is_bounded(self):
        for hours in (-1, 10_000):
            with self.assertRaisesRegex(ValidationError, str(hours)):
                self.backend.expire_hours = hours

    def test_one_active_backend_for_all_and_one_for_each_company(self):
        company = self.env.company
        own = self.backend.create(
            {
                "name": "Own",
                "homeserver_url": "http://localhost",
                "company_id": company.id,
            }
        )
        self.assertEqual(self.backend._active_for(company), own)
        own.is_active = False
        self.assertEqual(self.backend._active_for(company), self.backend)
        self.backend.is_active = False
        self.assertFalse(self.backend._active_for(company))
        own.is_active = True

        for company_id in (company.id, False):
            self.backend.is_active = True
            values = {
                "name": "Twin",
                "homeserver_url": "http://localhost",
                "company_id": company_id,
            }
            with self.assertRaisesRegex(ValidationError, "Own|Office"):
                self.backend.create({**values, "is_active": True})
            self.assertFalse(self.backend.create(values).is_active)

    def test_the_database_keeps_two_transactions_from_activating_two(self):
        with (
            self.assertRaises(psycopg2.errors.UniqueViolation),
            mute_logger("odoo.sql_db"),
            self.env.cr.savepoint(),
        ):
            self.env.cr.execute(
                "INSERT INTO matrix_backend (name, homeserver_url, is_active, "
                "message_type_chatter) VALUES ('x', 'http://x', true, 'm.text')"
            )

    def test_a_change_that_the_worker_must_see_is_counted(self):
        self.backend.flush_recordset()
        version = self._version()

        self.backend.name = "Other name"
        self.backend.flush_recordset()
        self.assertEqual(self._version(), version)

        self.backend.personal_access_token = "one"
        self.backend.homeserver_url = "https://other.example.org"
        self.backend.flush_recordset()
        self.assertGreater(self._version(), version)

    def _version(self):
        self.env.cr.execute(
            "SELECT config_version FROM matrix_backend WHERE id = %s", [self.backend.id]
        )
        return self.env.cr.fetchone()[0]

    def test_a_backend_with_waiting_messages_is_not_deleted(self):
        outbox = self.env["matrix.outbox"]
        outbox._insert_rows(
            [
                outbox._row(
                    self.backend,
                    "test",
                    "Hello",
                    {"backend_id": self.backend.id, "room_id": "!a"},
                )
            ]
        )

        with self.assertRaisesRegex(ValidationError, "Office"):
            self.backend.unlink()

    def test_users_see_that_there_is_a_backend_and_no_more(self):
        backends = self.env["matrix.backend"].with_user(self.user)

        self.assertEqual(
            set(backends.fields_get()),
            {
                "id",
                "display_name",
                "create_uid",
                "create_date",
                "write_uid",
                "write_date",
                "name",
                "company_id",
                "default_sender_display",
                "is_active",
            },
        )

    def test_the_shared_account_is_for_who_is_allowed_in_all_companies(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        own = self.backend.copy({"company_id": branch.id})
        manager = self.make_user(
            "branch-manager",
            "mail_matrix.group_matrix_manager",
            company_id=branch.id,
            company_ids=[Command.set(branch.ids)],
        )
        elsewhere = {"homeserver_url": "https://elsewhere.example.org"}
        shared = self.backend.with_user(manager)

        own.with_user(manager).write(elsewhere)
        self.assertEqual(shared.name, "Office")
        for redirect in (
            lambda: shared.write(elsewhere),
            lambda: shared.write({"company_id": branch.id}),
            lambda: shared.write({"personal_access_token": "mine"}),
            shared.unlink,
            shared.action_forget_token,
            lambda: own.with_user(manager).write({"company_id": False}),
            lambda: shared.create(
                {"name": "Mine", "company_id": False, "is_active": False, **elsewhere}
            ),
        ):
            with self.assertRaises(AccessError):
                redirect()

        manager.company_ids = self.env["res.company"].search([])
        shared.write(elsewhere)
        self.assertEqual(self.backend.homeserver_url, elsewhere["homeserver_url"])

    def test_rules_that_were_changed_survive_an_update(self):
        rules = self.env["ir.model.data"].search(
            [("module", "=", "mail_matrix"), ("model", "=", "ir.rule")]
        )

        self.assertEqual(set(rules.mapped("noupdate")), {True})

    def test_users_do_not_configure(self):
        backend = self.backend.with_user(self.user)
        with self.assertRaises(AccessError):
            backend.name = "Mine"
        with self.assertRaises(AccessError):
            backend.unlink()
        with self.assertRaises(AccessError):
            backend.read(["homeserver_url"])
        self.assertEqual(backend.name, "Office")

    def test_what_the_database_and_workers_count_is_written_by_nobody(self):
        backends = self.env["matrix.backend"].with_user(self.manager)
        values = {"name": "N", "homeserver_url": "https://b.org", "is_active": False}
        high = {"config_version": 2**31 - 1}
        with self.assertRaises(AccessError), self.env.cr.savepoint():
            self.backend.with_user(self.manager).write(high)
        with self.assertRaises(AccessError), self.env.cr.savepoint():
            backends.create({**values, **high})
        with self.assertRaises(AccessError), self.env.cr.savepoint():
            backends.with_context(default_config_version=2**31 - 1).create(values)

        self.assertEqual(backends.create(values).sudo().config_version, 1)

    def test_a_manager_writes_nothing_that_no_screen_offers(self):
        multi_company = self.env.ref("base.group_multi_company")
        self.manager.write({self.groups_field(): [Command.link(multi_company.id)]})
        backends = self.env["matrix.backend"].with_user(self.manager)
        offered = "".join(
            backends.get_view(view.id, "form")["arch"]
            for view in self.env["ir.ui.view"].search(
                [("model", "=", "matrix.backend"), ("type", "=", "form")]
            )
            if not view.inherit_id
        )
        writable = {
            name
            for name, description in backends.fields_get().items()
            if backends._fields[name].store
            and not description["readonly"]
            # Other addons, those of tests too, add texts of their own.
            and "mail_matrix" in backends._fields[name]._modules
        }

        self.assertIn("homeserver_url", writable)
        self.assertEqual({n for n in writable if f'name="{n}"' not in offered}, set())
