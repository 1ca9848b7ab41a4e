from functools import partial

import psycopg2

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import MatrixCase

ANNA = "@anna:example.org"


@tagged("post_install", "-at_install")
class TestContact(MatrixCase):
    """People in Matrix, and direct messages to them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.contact = cls.make_contact(ANNA, name="Anna")
        cls.other = cls.make_user("other-user", "mail_matrix.group_matrix_user")

    @classmethod
    def make_contact(cls, account, **values):
        return cls.env["matrix.contact"].create(
            {"matrix_user_id": account, "backend_id": cls.backend.id, **values}
        )

    def write_to(self, contact, body, user=None):
        """Do what a user does: open the composer of the contact and send."""
        contact = contact.with_user(user or self.user)
        action = contact.action_start_dm()
        model = self.env[action["res_model"]].with_user(user or self.user)
        form = Form(model.with_context(**action["context"]))
        form.body = body
        return form.save().action_send()

    def test_a_direct_message_waits_for_the_worker(self):
        self.write_to(self.contact, "Good morning\n  indented")

        [row] = self.outbox()
        self.assertEqual(row["event_type"], "dm")
        self.assertEqual(row["matrix_user_id"], ANNA)
        self.assertIsNone(row["room_id"])
        self.assertEqual(row["lane"], f"{self.backend.id}/{ANNA}")
        self.assertEqual(row["content"]["body"], "Good morning\n  indented")
        self.assertEqual(row["user_id"], self.user.id)
        self.assertIsNone(row["res_model"])

    def test_messages_to_one_person_share_one_lane_in_their_order(self):
        self.write_to(self.contact, "First")
        self.write_to(self.contact, "Second", self.other)

        self.assertEqual(self.bodies(), ["First", "Second"])
        self.assertEqual(len({row["lane"] for row in self.outbox()}), 1)

    def test_an_empty_message_and_one_that_is_too_long_are_refused(self):
        for body, words in ((" \n ", "empty"), ("ä" * 40_000, "too long")):
            with self.assertRaisesRegex(UserError, words):
                self.contact.with_user(self.user)._enqueue_direct(body)
        self.assertEqual(self.outbox(), [])

    def test_nobody_writes_to_odoo_itself(self):
        self.backend_state("ok", matrix_user_id=ANNA)

        with self.assertRaisesRegex(UserError, "Odoo itself"):
            self.write_to(self.contact, "Hello me")

    def test_an_account_that_is_gone_and_a_backend_that_is_off_are_named(self):
        self.contact.is_gone = True
        with self.assertRaisesRegex(UserError, "no longer exists"):
            self.write_to(self.contact, "Hello")
        self.contact.is_gone = False
        self.backend.is_active = False
        with self.assertRaisesRegex(UserError, "turned off"):
            self.write_to(self.contact, "Hello")

    def test_each_sees_his_own_messages_and_a_manager_sees_all(self):
        self.write_to(self.contact, "From me")
        self.write_to(self.contact, "From another", self.other)
        rows = self.outbox()
        self.log(rows[0], status="ok", room_id="!dm:example.org")

        seen = {
            user: [
                (row["text"], row["outcome"])
                for row in self.contact.with_user(user).get_matrix_deliveries()["rows"]
            ]
            for user in (self.user, self.other, self.manager)
        }

        mine, others = ("From me", "ok"), ("From another", "waiting")
        self.assertEqual(seen[self.user], [mine])
        self.assertEqual(seen[self.other], [others])
        self.assertEqual(seen[self.manager], [others, mine])

    def test_the_log_of_a_contact_opens_with_ones_own_rows(self):
        self.write_to(self.contact, "From me")
        self.write_to(self.contact, "From another", self.other)
        self.log_all()
        counts = {}
        for user in (self.user, self.other, self.manager):
            action = self.contact.with_user(user).action_view_messages()
            logs = self.env["matrix.log"].with_user(user)
            counts[user] = logs.search_count(action["domain"])

        self.assertEqual([*counts.values()], [1, 1, 2])

    def test_a_failed_direct_message_can_be_retried_and_sent_again(self):
        self.write_to(self.contact, "Hello")
        [row] = self.outbox()
        failed = self.log(row, error_code="M_FORBIDDEN", room_id="!dm:example.org")

        failed.with_user(self.manager).action_retry()

        [again] = self.outbox()
        self.assertEqual(again["txn_id"], row["txn_id"])
        self.assertEqual(again["lane"], row["lane"])
        failed = self.log(again, error_code="M_FORBIDDEN", room_id="!dm:example.org")
        failed.with_user(self.manager).action_send_again()
        [new] = self.outbox()
        self.assertNotEqual(new["txn_id"], row["txn_id"])
        self.assertEqual(new["lane"], row["lane"])

    def test_a_user_of_odoo_is_known_by_his_account_never_by_name(self):
        self.other.name = "Anna"
        self.assertFalse(self.contact.user_id)
        self.manager.matrix_user_id = ANNA
        contacts = self.env["matrix.contact"]
        self.contact.invalidate_recordset(["user_id"])

        self.assertEqual(self.contact.with_user(self.user).user_id, self.manager)
        stranger = self.make_contact("@stranger:example.org")
        self.assertEqual(contacts.search([("user_id", "!=", False)]), self.contact)
        self.assertIn(stranger, contacts.search([("user_id", "=", False)]))
        found = contacts.search([("user_id", "=", self.manager.id)])
        self.assertEqual(found, self.contact)
        found = contacts.search([("user_id", "ilike", "matrix-man")])
        self.assertEqual(found, self.contact)

    def test_a_user_with_an_account_can_be_written_to(self):
        self.manager.matrix_user_id = ANNA
        action = self.manager.with_user(self.user).action_start_matrix_dm()
        model = self.env[action["res_model"]].with_user(self.user)
        form = Form(model.with_context(**action["context"]))
        self.assertIn(ANNA, form.recipient)
        form.body = "Hello boss"
        form.save().action_send()

        self.assertEqual(self.outbox()[0]["matrix_user_id"], ANNA)

    def test_a_user_without_an_account_cannot_be_written_to(self):
        composer = self.env["matrix.direct.composer"].with_user(self.user)
        composer = composer.create({"user_id": self.other.id, "body": "Hello"})

        with self.assertRaisesRegex(UserError, "no Matrix account"):
            composer.action_send()

    def test_a_partner_linked_by_hand_offers_to_write(self):
        partner = self.env["res.partner"].create({"name": "Client"})
        self.contact.with_user(self.user).partner_id = partner

        action = partner.with_user(self.user).action_start_matrix_dm()

        self.assertEqual(action["context"], {"default_contact_id": self.contact.id})
        self.make_contact("@anna:elsewhere.org", partner_id=partner.id)
        action = partner.with_user(self.user).action_start_matrix_dm()
        self.assertEqual(action["domain"], [("partner_id", "=", partner.id)])

    def test_a_user_changes_nothing_but_the_link(self):
        contact = self.contact.with_user(self.user)
        for values in (
            {"name": "The Judge"},
            {"matrix_user_id": "@judge:example.org"},
            {"is_gone": True, "partner_id": False},
        ):
            with self.assertRaises(AccessError):
                contact.write(values)
        with self.assertRaises(AccessError):
            contact.create({"matrix_user_id": "@b:x", "backend_id": self.backend.id})
        with self.assertRaises(AccessError):
            contact.unlink()
        with self.assertRaises(AccessError):
            contact.read(["avatar_url"])

    def test_who_is_not_a_matrix_user_can_do_nothing(self):
        self.manager.matrix_user_id = ANNA
        for group in ("base.group_user", "base.group_portal"):
            outsider = self.make_user(f"outsider-{group}", group)
            for attempt in self.attempts(outsider):
                with self.assertRaises(AccessError):
                    attempt()
        self.assertEqual(self.outbox(), [])

    def attempts(self, outsider):
        contact = self.contact.with_user(outsider)
        sync = self.env["matrix.contact.sync"].with_user(outsider)
        composer = self.env["matrix.direct.composer"].with_user(outsider)
        return [
            contact.action_start_dm,
            contact.get_matrix_deliveries,
            partial(contact._enqueue_direct, "Hello"),
            partial(contact.read, ["name"]),
            partial(contact.search, []),
            outsider.partner_id.with_user(outsider).action_start_matrix_dm,
            self.manager.with_user(outsider).action_start_matrix_dm,
            partial(sync.create, {"term": "a"}),
            partial(composer.create, {"user_id": self.manager.id, "body": "Hello"}),
        ]

    def test_another_companys_contacts_are_hidden(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        theirs = {"company_id": branch.id, "company_ids": [Command.set(branch.ids)]}
        self.backend.company_id = self.env.company
        stranger = self.make_user(
            "branch", "mail_matrix.group_matrix_manager", **theirs
        )
        contacts = self.env["matrix.contact"].with_user(stranger)

        self.assertFalse(contacts.search([]))
        with self.assertRaises(AccessError):
            contacts.browse(self.contact.id).action_start_dm()

    def test_one_homeserver_of_two_companies_has_a_contact_for_each(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        second = self.backend.copy({"company_id": branch.id})

        twin = self.make_contact(ANNA, backend_id=second.id)

        self.assertEqual(twin.company_id, branch)

    def test_two_companies_of_one_homeserver_do_not_see_each_others_messages(self):
        branch = self.env["res.company"].create({"name": "Branch"})
        self.backend.company_id = self.env.company
        second = self.backend.copy({"company_id": branch.id, "is_active": True})
        theirs = {"company_id": branch.id, "company_ids": [Command.set(branch.ids)]}
        colleague = self.make_user(
            "branch-u", "mail_matrix.group_matrix_user", **theirs
        )
        boss = self.make_user("branch-m", "mail_matrix.group_matrix_manager", **theirs)
        twin = self.make_contact(ANNA, backend_id=second.id)

        self.write_to(self.contact, "From here")
        self.write_to(twin, "From the branch", colleague)

        lanes = [row["lane"] for row in self.outbox()]
        self.assertEqual(lanes, [f"{self.backend.id}/{ANNA}", f"{second.id}/{ANNA}"])
        self.log_all()
        logs = self.env["matrix.log"]
        for user, text in (
            (self.user, "From here"),
            (self.manager, "From here"),
            (colleague, "From the branch"),
            (boss, "From the branch"),
        ):
            seen = logs.with_user(user).search([("matrix_user_id", "=", ANNA)])
            self.assertEqual(seen.mapped("payload"), [text], user.login)

    def test_one_may_write_to_oneself(self):
        self.user.matrix_user_id = ANNA
        self.write_to(self.contact, "Do not forget the file")

        self.assertEqual(self.outbox()[0]["matrix_user_id"], ANNA)

    def test_a_person_is_listed_once_for_each_backend(self):
        with (
            mute_logger("odoo.sql_db"),
            self.assertRaises(psycopg2.errors.UniqueViolation),
            self.cr.savepoint(),
        ):
            self.make_contact(ANNA)

    def test_what_is_not_an_account_is_refused(self):
        for account in ("anna", "@anna", "#a:b", "@" + "a" * 255 + ":x"):
            with self.assertRaisesRegex(ValidationError, "not a valid Matrix account"):
                self.make_contact(account)

    def test_people_are_found_by_name_and_by_account(self):
        contacts = self.env["matrix.contact"].with_user(self.user)

        for term in ("Anna", "anna:exam"):
            self.assertEqual(contacts.name_search(term), [(self.contact.id, "Anna")])
        nameless = self.make_contact("@x:example.org")
        self.assertEqual(nameless.display_name, "@x:example.org")
