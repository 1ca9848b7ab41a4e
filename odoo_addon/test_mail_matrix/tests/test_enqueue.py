from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from odoo import Command
from odoo.tests import tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestEnqueue(TicketCase):
    def test_an_event_becomes_one_row_at_commit(self):
        ticket = self.as_user(self.ticket)

        ticket.stage = "Doing"
        ticket.stage = "Done"
        self.assertEqual(self.outbox(), [])
        self.commit()

        (row,) = self.outbox()
        self.assertEqual(row["content"]["body"], "Ticket Leaking tap moved to Done")
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(row["lane"], f"{self.backend.id}/{ROOM}")
        self.assertEqual(row["event_type"], "ticket_moved")
        self.assertEqual(row["matrix_type"], "m.room.message")
        self.assertEqual(row["content"]["org.odoo.outbox"], row["txn_id"])
        self.assertEqual(row["content"]["m.mentions"], {})
        self.assertEqual((row["res_model"], row["res_id"]), (ticket._name, ticket.id))
        self.assertEqual(row["user_id"], self.user.id)
        self.assertIsNone(row["expires_at"])

    def test_the_text_links_to_the_record(self):
        self.ticket.stage = "Done"
        self.commit()

        (row,) = self.outbox()
        url = f"/mail/view?model=test.matrix.ticket&amp;res_id={self.ticket.id}"
        self.assertIn(f'{url}">Leaking tap</a> moved', row["content"]["formatted_body"])

    def test_links_lead_where_the_record_s_company_reaches_odoo(self):
        """Not where an administrator, or who caused the event, happened to come in."""
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("web.base.url", "https://tunnel.example.net")
        addresses = {self.ticket: "https://b.example.org"}

        def get_base_url(records):
            return addresses.get(records, "https://wrong.example.net")

        visit = self.env["test.matrix.visit"].create({"ticket_id": self.ticket.id})
        self.ticket.stage = "Done"
        with patch.object(type(self.ticket), "get_base_url", get_base_url):
            self.commit()

        for row, record in zip(self.outbox(), (visit, self.ticket), strict=True):
            self.assertIn(
                f"https://b.example.org/mail/view?model={record._name}"
                f"&amp;res_id={record.id}",
                row["content"]["formatted_body"],
            )

    def test_another_record_posts_in_the_room_of_its_ticket(self):
        self.env.company.partner_id.tz = "Europe/Berlin"
        self.as_user(self.env["test.matrix.visit"]).create(
            {"ticket_id": self.ticket.id, "date": "2026-07-01 08:00:00"}
        )
        self.commit()

        (row,) = self.outbox()
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(row["res_id"], self.ticket.id)
        # 18.0: Jul 1, 2026, 10:00:00 AM; 19.0: 07/01/2026 10:00:00 AM
        self.assertRegex(row["content"]["body"], r" on .*2026,? 10:00:00")

    def test_messages_are_in_the_language_of_the_company(self):
        self.env["res.lang"]._activate_lang("de_DE")
        self.env.company.partner_id.lang = "de_DE"
        self.as_user(self.env["test.matrix.visit"]).create(
            {"ticket_id": self.ticket.id, "date": "2026-07-01 08:00:00"}
        )
        self.commit()

        self.assertIn("01.07.2026", self.bodies()[0])

    def test_names_cannot_inject_html(self):
        self.ticket.name = "<script>alert(1)</script> & Co"
        self.ticket.stage = "<b>"
        self.commit()

        content = self.outbox()[-1]["content"]
        self.assertIn("<script>alert(1)</script> & Co moved to <b>", content["body"])
        self.assertNotIn("<script>", content["formatted_body"])
        self.assertIn("moved to &lt;b&gt;", content["formatted_body"])

    def test_what_jsonb_refuses_breaks_no_transaction(self):
        self.backend.template_ticket_moved = "a{{ '\\ud800b\\0' }}c{{ object.stage }}"
        self.ticket.stage = "Done"
        self.commit()

        self.assertEqual(self.bodies(), ["abcDone"])

    def test_a_long_text_is_cut(self):
        self.ticket.name = "x" * 100000
        self.backend.template_ticket_moved = "{{ object.name }}"
        self.ticket.stage = "Done"
        self.commit()

        body = self.bodies()[0]
        self.assertGreater(len(body), 59 * 1024)
        self.assertTrue(body.endswith("x…"))

    def test_a_row_expires_as_the_backend_says(self):
        self.backend.expire_hours = 2
        self.ticket.stage = "Done"
        self.commit()

        row = self.outbox()[0]
        self.assertEqual(row["expires_at"] - row["queued_at"], timedelta(hours=2))

    def test_a_mass_edit_of_500_is_one_insert(self):
        tickets = self.env["test.matrix.ticket"].create(
            [{"name": f"T{n}", "matrix_room_id": f"!{n}"} for n in range(500)]
        )
        self.commit()
        self.clear_outbox()

        tickets.write({"stage": "Done"})
        tickets.flush_recordset()
        with self.statements() as statements:
            self.commit()

        inserts = [sql for sql in statements if "INSERT INTO matrix_outbox" in sql]
        self.assertEqual(len(inserts), 1)
        self.assertEqual(len({row["txn_id"] for row in self.outbox()}), 500)
        self.assertEqual(self.bodies()[7], "Ticket T7 moved to Done")

    @contextmanager
    def statements(self):
        """Collect the SQL that the block executes."""
        executed, execute = [], type(self.env.cr).execute

        def spy(cursor, query, *args, **kwargs):
            executed.append(getattr(query, "code", query))
            return execute(cursor, query, *args, **kwargs)

        with patch.object(type(self.env.cr), "execute", spy):
            yield executed

    def test_a_new_record_is_posted_before_its_lines(self):
        """Its lines are saved first, as a form with a list saves them."""
        tickets = self.env["test.matrix.ticket"].create(
            [
                {
                    "name": name,
                    "matrix_room_id": f"!{name}",
                    "visit_ids": [Command.create({}), Command.create({})],
                }
                for name in ("A", "B")
            ]
        )
        tickets[0].stage = "Done"
        self.commit()

        posted = [(row["room_id"], row["event_type"]) for row in self.outbox()]
        for room, more in (("!A", ["ticket_moved"]), ("!B", [])):
            self.assertEqual(
                [event for place, event in posted if place == room],
                ["ticket_created", "visit_created", "visit_created", *more],
            )

    def test_a_record_that_is_moved_to_a_new_one_waits_for_it(self):
        visit = self.env["test.matrix.visit"].create({"ticket_id": self.ticket.id})
        self.commit()
        self.clear_outbox()
        self.env["test.matrix.ticket"].create(
            {
                "name": "A",
                "matrix_room_id": "!A",
                "visit_ids": [Command.create({}), Command.link(visit.id)],
            }
        )
        self.commit()

        self.assertEqual(self.bodies()[0], "Ticket A created")

    def test_nothing_is_posted_where_matrix_is_off(self):
        def silent():
            self.ticket.stage = f"{self.ticket.stage}!"
            self.commit()
            self.assertEqual(self.outbox(), [])
            codes = [failure["error_code"] for failure in self.failures()]
            self.clear_outbox()
            return codes

        self.ticket.matrix_enabled = False
        self.assertEqual(silent(), ["org.odoo.off"])
        self.ticket.write({"matrix_enabled": True, "matrix_room_id": False})
        self.assertEqual(silent(), ["org.odoo.no_room"])
        self.ticket.matrix_room_id = ROOM
        self.backend.notify_ticket_moved = False
        self.assertEqual(silent(), [])
        self.backend.write({"notify_ticket_moved": True, "is_active": False})
        self.assertEqual(silent(), [])
        self.backend.is_active = True

        self.ticket.stage = "Noted again"
        self.commit()
        self.assertEqual(len(self.outbox()), 1)

    def test_records_without_a_room_post_in_the_default_room(self):
        self.backend.default_room_id = "!new:example.org"
        self.env["test.matrix.ticket"].create({"name": "No room"})
        self.commit()

        self.assertEqual(self.outbox()[0]["room_id"], "!new:example.org")

    def test_the_backend_of_the_record_s_company_is_used(self):
        company = self.env["res.company"].create({"name": "Branch"})
        branch = self.backend.copy({"company_id": company.id, "is_active": True})
        self.ticket.company_id = company
        self.ticket.stage = "Done"
        self.commit()

        self.assertEqual(self.outbox()[0]["backend_id"], branch.id)

    def test_loading_data_of_a_module_is_not_an_event(self):
        tickets = self.env["test.matrix.ticket"].with_context(install_mode=True)
        tickets._load_records(
            [
                {
                    "xml_id": "test_mail_matrix.loaded",
                    "values": {"name": "Loaded", "matrix_room_id": ROOM},
                }
            ]
        )
        self.commit()

        self.assertEqual(self.outbox(), [])

    def test_an_import_is_posted_and_its_dry_run_is_not(self):
        imports = self.env["test.matrix.ticket"].with_context(import_file=True)
        fields, rows = ["name", "matrix_room_id"], [["One", ROOM], ["Two", ROOM]]

        with self.env.cr.savepoint(flush=False) as dry_run:
            imports.load(fields, rows)
            dry_run.close(rollback=True)
        self.commit()
        self.assertEqual(self.outbox(), [])

        self.assertFalse(imports.load(fields, rows)["messages"])
        self.commit()
        self.assertEqual(self.bodies(), ["Ticket One created", "Ticket Two created"])

    def test_nothing_is_posted_about_a_deleted_record(self):
        self.ticket.stage = "Done"
        self.ticket.unlink()
        self.commit()

        self.assertEqual(self.outbox() + self.failures(), [])
