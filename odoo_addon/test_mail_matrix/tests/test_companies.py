from unittest.mock import patch

from psycopg2 import IntegrityError

from odoo import Command
from odoo.exceptions import AccessError
from odoo.sql_db import Cursor
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.mail_matrix.models.matrix_room_request import request

from .common import TicketCase

MANAGER = "mail_matrix.group_matrix_manager"


@tagged("post_install", "-at_install")
class TestCompanies(TicketCase):
    """Two companies, of which each has a manager, and a third manager for both."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.main = cls.env.company
        cls.branch = cls.env["res.company"].create({"name": "Branch"})
        everywhere = cls.env["res.company"].search([])
        cls.chief = cls.make_user(
            "chief", MANAGER, company_ids=[Command.set(everywhere.ids)]
        )
        own = {
            "company_id": cls.branch.id,
            "company_ids": [Command.set(cls.branch.ids)],
        }
        cls.branch_manager = cls.make_user("branch-manager", MANAGER, **own)
        cls.branch_user = cls.make_user(
            "branch-user", "mail_matrix.group_matrix_user", **own
        )
        cls.ticket.company_id = cls.main
        cls.branch_ticket = cls.ticket.create(
            {"name": "Theirs", "company_id": cls.branch.id, "matrix_room_id": "!branch"}
        )
        cls.commit()
        cls.clear_outbox()

    def found(self, model, user, companies=None):
        """Return what ``user`` finds, in the companies that are active."""
        companies = companies or user.company_ids
        records = self.env[model].with_user(user)
        found = records.with_context(allowed_company_ids=companies.ids).search([])
        found.read(["backend_id"])
        return found.sudo().with_env(self.env)

    def write_everywhere(self):
        self.ticket._matrix_enqueue("manual", "Ours")
        self.branch_ticket._matrix_enqueue("manual", "Theirs")
        values = {"backend_id": self.backend.id, "matrix_user_id": "@x:example.org"}
        outbox = self.env["matrix.outbox"]
        for user in (self.manager, self.branch_user):
            writer = outbox.with_user(user).sudo()
            writer._insert_written(self.backend, "dm", user.login, values)

    def test_a_shared_backend_shows_managers_only_what_is_of_their_companies(self):
        self.write_everywhere()
        everything = {"Ours", "Theirs", "matrix-manager", "branch-user"}
        for is_logged in (False, True):
            if is_logged:
                self.log_all()
            for model in ("matrix.message", *(["matrix.log"] if is_logged else [])):
                for user, said in (
                    (self.manager, {"Ours", "matrix-manager"}),
                    (self.branch_manager, {"Theirs", "branch-user"}),
                    (self.chief, everything),
                ):
                    found = self.found(model, user)
                    self.assertEqual(set(found.mapped("payload")), said)
                hidden = self.found(model, self.chief) - found.browse(
                    self.found(model, self.branch_manager).ids
                )
                with self.assertRaises(AccessError):
                    hidden.with_user(self.branch_manager).read(["payload"])

    def hold_all(self):
        """Do what the worker does with rooms that do not answer while others do."""
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, head_id, first_failed_at, retry_at) "
            "SELECT lane, min(id), '2026-01-01', '2100-01-01' FROM matrix_outbox "
            "GROUP BY lane"
        )

    def test_the_overview_counts_what_waits_for_ones_companies_in_a_shared_backend(
        self,
    ):
        self.write_everywhere()
        self.hold_all()
        for user, count, held in (
            (self.branch_manager, 2, {"Theirs", "@x:example.org"}),
            (self.manager, 2, {"Leaking tap", "@x:example.org"}),
            (self.chief, 4, {"Leaking tap", "Theirs", "@x:example.org"}),
        ):
            companies = user.company_ids
            logs = self.env["matrix.log"].with_user(user)
            logs = logs.with_context(allowed_company_ids=companies.ids)

            overview = logs.get_overview()

            self.assertEqual(overview["waiting"], str(count))
            self.assertTrue(overview["oldest_queued_at"])
            by_event = [int(group["count"]) for group in overview["waiting_by"]]
            self.assertEqual(sum(by_event), count)
            self.assertEqual({lane["name"] for lane in overview["held"]}, held)

    def test_the_list_waiting_shows_managers_what_waits_for_their_companies(self):
        """Also in a room of several companies: the default room, or a person's."""
        self.backend.default_room_id = "!all:example.org"
        for ticket in self.ticket, self.branch_ticket:
            ticket.matrix_room_id = False
        self.write_everywhere()
        room, person = "!all:example.org", "@x:example.org"
        theirs = {"Theirs", "branch-user"}
        for user, said, waiting in (
            (self.branch_manager, theirs, {room: 1, person: 1}),
            (self.chief, {"Ours", "matrix-manager", *theirs}, {room: 2, person: 2}),
        ):
            outbox = self.found("matrix.outbox", user)
            self.assertEqual({row.content["body"] for row in outbox}, said)
            lanes = self.env["matrix.lane"].with_user(user)
            lanes = lanes.with_context(allowed_company_ids=user.company_ids.ids)
            self.env.invalidate_all()
            found = {lane.target: lane.waiting for lane in lanes.search([])}
            self.assertEqual(found, waiting)
            self.assertEqual(self.counted(user), str(sum(waiting.values())))

        ours = self.found("matrix.outbox", self.chief) - self.found(
            "matrix.outbox", self.branch_manager
        )
        with self.assertRaises(AccessError):
            ours.with_user(self.branch_manager).read(["content"])
        self.env.invalidate_all()
        lanes = self.env["matrix.lane"].with_user(self.branch_manager)
        lanes.with_context(allowed_company_ids=self.branch.ids).search(
            []
        ).action_discard()
        self.assertEqual(self.bodies(), ["Ours", "matrix-manager"])
        self.assertEqual(self.counted(self.branch_manager), "0")

    def counted(self, user):
        """Return how many messages wait, as the backend shows it to ``user``."""
        self.env.invalidate_all()
        backend = self.backend.with_user(user)
        backend = backend.with_context(allowed_company_ids=user.company_ids.ids)
        # As other code of the same request may do first.
        self.assertFalse(backend.sudo().state_note)
        self.assertEqual(bool(backend.oldest_queued_at), backend.waiting_count != "0")
        return backend.waiting_count

    def readings(self, act, user):
        """Return how many queries of the outbox ``act`` makes for ``user``."""
        execute, queries = Cursor.execute, []

        def listen(cursor, query, *args, **options):
            queries.append(str(getattr(query, "code", query)))
            return execute(cursor, query, *args, **options)

        self.env.flush_all()
        self.env.invalidate_all()
        with patch.object(Cursor, "execute", listen):
            act(self.env(user=user, context={"allowed_company_ids": self.branch.ids}))
        return sum("matrix_outbox" in query for query in queries)

    def test_the_state_of_a_backend_reads_no_waiting_message(self):
        """It is read whenever a record is opened, and very many may be waiting."""
        self.write_everywhere()
        self.backend_state("down")

        def show(env):
            backend = self.backend.with_env(env)
            self.assertTrue(backend.state and backend.state_note)
            self.assertTrue(self.branch_ticket.with_env(env).matrix_trouble)

        self.assertEqual(self.readings(show, self.branch_manager), 0)

        def count(env):
            self.assertEqual(self.backend.with_env(env).waiting_count, "2")

        self.assertGreater(self.readings(count, self.branch_manager), 0)

    def test_a_list_of_lanes_finds_out_once_what_its_reader_may_read(self):
        self.write_everywhere()
        outbox = type(self.env["matrix.outbox"])
        names = {"waiting": {}, "reason": {}}
        found = []

        def show(env):
            lanes = env["matrix.lane"]
            found.append(lanes.web_search_read([], names, limit=1)["length"])

        with patch.object(
            outbox, "_records_of", autospec=True, side_effect=outbox._records_of
        ) as asked:
            self.readings(show, self.branch_manager)

        self.assertEqual((found, asked.call_count), ([2], 1))

    def test_a_manager_who_lacks_a_new_company_sees_what_waits_for_the_others(self):
        self.write_everywhere()
        third = self.env["res.company"].create({"name": "Third"})
        self.branch_ticket.company_id = third
        self.env.flush_all()

        found = self.found("matrix.outbox", self.chief)

        self.assertNotIn("Theirs", [row.content["body"] for row in found])
        self.assertEqual(self.counted(self.chief), "3")

    def test_managers_hear_of_rooms_that_cannot_be_created_for_their_companies(
        self,
    ):
        self.ticket.matrix_room_id = False
        self.branch_ticket.matrix_room_id = False
        for ticket in self.ticket, self.branch_ticket:
            self.env["matrix.room.request"]._insert(ticket)
            ticket._matrix_enqueue("manual", ticket.name)
        self.env.cr.execute("UPDATE matrix_room_request SET note = 'No.'")
        for user, tickets in (
            (self.branch_manager, self.branch_ticket),
            (self.manager, self.ticket),
            (self.chief, self.ticket | self.branch_ticket),
        ):
            logs = self.env["matrix.log"].with_user(user)
            logs = logs.with_context(allowed_company_ids=user.company_ids.ids)

            [found] = logs.get_overview()["roomless"]

            self.assertEqual(found["res_ids"], tickets.ids)
            self.assertIn(
                "2 records wait" if len(tickets) == 2 else "One record waits",
                found["text"],
            )

            with patch.object(request, "COUNT_AT_MOST", 0):
                [found] = logs.get_overview()["roomless"]

            self.assertEqual(found["res_ids"], tickets.ids[:1])

    def test_who_has_access_to_two_companies_sees_those_that_are_active(self):
        self.backend.company_id = self.main
        theirs = self.backend.copy({"company_id": self.branch.id, "is_active": True})
        self.write_everywhere()
        for companies, backends in (
            (self.main, self.backend),
            (self.branch, theirs),
            (self.main | self.branch, self.backend | theirs),
        ):
            for model in ("matrix.outbox", "matrix.lane", "matrix.message"):
                found = self.found(model, self.chief, companies)
                self.assertEqual(found.backend_id, backends, (model, companies))
            found = self.env["matrix.backend"].with_user(self.chief)
            found = found.with_context(allowed_company_ids=companies.ids).search([])
            self.assertEqual(found.filtered("is_active").sudo(), backends)

    def test_a_backend_of_another_company_is_nobodys_business(self):
        self.backend.company_id = self.main
        theirs = self.backend.with_user(self.branch_manager)
        address = "https://evil.example.org"
        for act in (
            lambda: theirs.read(["homeserver_url"]),
            lambda: theirs.write({"homeserver_url": address}),
            lambda: theirs.write({"personal_access_token": "syt_own"}),
            lambda: theirs._connect(address, True, token="syt_own"),  # noqa: S106
            theirs.action_test_connection,
            theirs.action_forget_token,
            theirs.action_download_registration,
            theirs._appservice_registration,
            theirs.action_renew_inbound_secret,
            theirs.action_use_here,
            theirs.action_move_waiting,
            theirs.action_set_up_encryption,
            theirs.action_turn_off_encryption,
            lambda: theirs.get_matrix_text_help("template_test"),
            lambda: (
                theirs.env["matrix.address"]
                .create({"backend_id": theirs.id, "url": address})
                .action_use()
            ),
            lambda: (
                theirs.env["matrix.contact.sync"]
                .create({"backend_id": theirs.id})
                .action_sync()
            ),
        ):
            with self.assertRaises(AccessError):
                act()

    def test_a_company_with_a_backend_stays(self):
        """Without its company the backend would serve all the others."""
        company = self.env["res.company"].create({"name": "Closing down"})
        self.backend.company_id = company
        self.commit()
        with (
            self.assertRaisesRegex(IntegrityError, "matrix_backend"),
            self.cr.savepoint(),
            mute_logger("odoo.sql_db"),
        ):
            company.unlink()

    def test_a_sync_is_continued_for_backends_of_ones_own_companies_only(self):
        self.backend.company_id = self.main
        sync = (
            self.env["matrix.contact.sync"]
            .with_user(self.branch_user)
            .create({"backend_id": self.backend.id, "state": "background"})
        )

        sync.sudo()._cron_continue()

        self.assertEqual(sync.state, "stopped")
        self.assertFalse(sync.sudo().started_at)

    def test_texts_of_other_companies_are_not_shown(self):
        theirs = self.backend.copy({"name": "Theirs", "company_id": self.branch.id})
        self.env.cr.execute(
            "UPDATE matrix_backend SET template_test = '{{ no }}' WHERE id = %s",
            [theirs.id],
        )
        self.env.invalidate_all()

        self.assertFalse(self.backend.with_user(self.manager).text_problems)
        self.assertIn(
            "Theirs", self.backend.with_user(self.branch_manager).text_problems
        )
