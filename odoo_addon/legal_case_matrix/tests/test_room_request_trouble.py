from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import SQL

from odoo.addons.mail_matrix.tests.homeserver import TOKEN

from .common import ROOM
from .test_room_request import RoomRequestCase

LOGGER = "odoo.addons.mail_matrix.models.matrix_background_mixin"
COMMENT = {"message_type": "comment", "subtype_xmlid": "mail.mt_comment"}


@tagged("post_install", "-at_install")
class TestRoomRequestTrouble(RoomRequestCase):
    """What people change while a room is being created, and what goes wrong."""

    def post(self, case, body):
        message = case.message_post(body=body, **COMMENT)
        self.commit()
        return message

    def posted(self):
        return [row for row in self.outbox() if row["event_type"] == "chatter"]

    # The queue goes on.

    def test_a_room_entered_while_no_backend_is_active_holds_up_no_company(self):
        case = self.refused_case()
        self.backend.company_id = case.company_id
        branch = self.env["res.company"].create({"name": "Branch"})
        self.backend.copy({"name": "Branch", "company_id": branch.id}).write(
            {
                "is_active": True,
                "create_rooms": True,
                "personal_access_token": TOKEN,
            }
        )
        self.backend.is_active = False
        case.matrix_room_id = ROOM
        values = {"name": "Theirs", "partner_id": self.partner.id, "user_id": False}
        theirs = self.env["legal.case"].create({**values, "company_id": branch.id})
        self.commit()

        self.work()

        self.assertEqual(theirs.matrix_room_id, "!new0")
        self.assertIn("No Matrix backend", case.matrix_trouble)
        self.assertIn(
            "No Matrix backend", case.get_matrix_deliveries()["rows"][0]["note"]
        )
        self.backend.is_active = True
        self.due_now()
        self.work()
        self.assertIn((ROOM, "case_summary"), self.waiting())

    def test_an_unexpected_error_holds_up_no_other_case(self):
        case, other = self.open_case(), self.open_case(name="Other")
        cases = type(case)
        link = cases._matrix_link

        def fail(record, *args, **kwargs):
            if record.id == case.id:
                raise ValueError("Another addon does not like this")
            return link(record, *args, **kwargs)

        with patch.object(cases, "_matrix_link", fail), self.assertLogs(LOGGER):
            self.work()

        self.assertTrue(other.matrix_room_id)
        self.assertFalse(case.matrix_room_id)
        self.assertIn("see Odoo's log", case.matrix_room_request_note)
        self.due_now()
        self.work()
        self.assertTrue(case.matrix_room_id)
        self.assertEqual(len(self.created), 2)

    def test_an_unexpected_error_puts_off_all_that_was_written_for_the_case(self):
        case, tried = self.open_case(), []
        case._matrix_enqueue("manual", "B")
        self.commit()
        self.assertGreater(self.requests.search_count([]), 1)

        def fail(record):
            tried.append(record.id)
            raise ValueError("Another addon does not like this")

        failing = patch.object(type(case), "_matrix_create_in_background", fail)
        with failing, self.assertLogs(LOGGER):
            self.work()

        self.assertEqual(tried, case.ids)
        self.assertEqual(self.requests.search_count(self.requests._due()), 0)
        self.due_now()
        self.work()
        self.assertIn((case.matrix_room_id, "manual"), self.waiting())

    def test_a_model_without_rooms_holds_up_no_case(self):
        """As after another addon was uninstalled."""
        self.requests._insert(self.env["res.country"].search([], limit=1))
        case = self.open_case()

        self.work()

        self.assertEqual(case.matrix_room_id, "!new0")
        self.assertFalse(self.requests.search([]))

    def test_a_model_without_rooms_does_not_matter_if_the_homeserver_is_away(self):
        self.answers["GET", "/account/whoami"] = (503, b"")
        case = self.open_case()
        self.requests._insert(self.env["res.country"].search([], limit=1))

        self.work()

        self.assertEqual(case.matrix_room_request, "failed")
        self.assertNotIn("see Odoo's log", case.matrix_room_request_note)

    def test_who_has_a_room_does_not_wait_for_the_homeserver(self):
        linked = self.refused_case(name="Linked")
        self.answers["GET", "/account/whoami"] = (503, b"")
        self.open_case()
        linked.matrix_room_id = ROOM
        self.commit()

        self.work()

        self.assertEqual(self.waiting(), [(ROOM, "case_summary")])

    # What people do meanwhile.

    def test_chatter_that_is_turned_off_meanwhile_is_in_the_log(self):
        case = self.open_case(matrix_mirror_chatter=True)
        self.post(case, "A")
        case.matrix_mirror_chatter = False
        self.commit()

        self.work()

        self.assertEqual(self.posted(), [])
        self.assertEqual(self.not_posted(), [("chatter", "org.odoo.room_not_created")])
        self.assertIn(("Chatter", "failed"), self.shown(case))

    def test_chatter_that_nobody_may_read_any_more_is_not_in_the_log(self):
        for values in ({}, {"matrix_mirror_chatter": False}, {"matrix_enabled": False}):
            case = self.open_case(matrix_mirror_chatter=True)
            self.post(case, "A").sudo().unlink()
            self.post(case, "B").sudo().is_internal = True
            emptied = self.post(case, "C").sudo()
            case.sudo()._message_update_content(emptied, body="", attachment_ids=[])
            case.write(values)
            self.commit()

            self.work()

            self.assertEqual(self.posted(), [], values)
            self.assertNotIn("chatter", dict(self.not_posted()), values)

    def test_chatter_without_a_room_is_logged_as_it_is_now_and_written_again(self):
        """Sent again, it would not follow later edits."""
        case = self.open_case(matrix_mirror_chatter=True)
        message = self.post(case, "Frist")
        case._message_update_content(message, body="First")
        case.matrix_enabled = False
        self.commit()

        self.work()

        log = self.env["matrix.log"].with_user(self.manager)
        log = log.search([("event_type", "=", "chatter")])
        self.assertEqual(log.payload, f"{message.author_id.name}: First")
        self.assertFalse(log.content)
        self.assertEqual(log.error_code, "org.odoo.room_not_created")
        self.assertIn("write it again in the chatter", log.hint)
        case.write({"matrix_enabled": True, "matrix_room_id": ROOM})
        self.commit()
        with self.assertRaisesRegex(UserError, "no message to send.*Write it again"):
            log.action_send_again()
        self.assertNotIn("chatter", [event for _room, event in self.waiting()])

    def test_a_stage_asks_for_no_second_room(self):
        self.stages[1].matrix_create_room = True
        case = self.refused_case()
        self.homeserver.requests.clear()

        case.stage_id = self.stages[1]
        self.commit()
        self.work()

        self.assertEqual(self.homeserver.requests, [], "Not before its time")
        self.due_now()
        self.work()
        events = [event for _room, event in self.waiting()]
        self.assertEqual(events, ["case_summary", "stage_changed"])

    def test_an_alias_that_is_entered_meanwhile_is_not_replaced(self):
        case = self.open_case()
        case.matrix_room_alias = "#known:example.org"
        self.commit()

        self.work()

        self.assertEqual(self.created, [])
        self.assertEqual(case.matrix_room_alias, "#known:example.org")
        self.assertIn("Find Room", case.matrix_room_request_note)
        case.matrix_room_id = ROOM
        self.commit()
        self.work()
        self.assertEqual(self.waiting(), [(ROOM, "case_summary")])

    def test_an_alias_that_is_entered_after_the_room_was_created_is_kept_too(self):
        case = self.open_case()
        self.work(1)
        self.assertEqual(self.created, ["!new0"])
        case.matrix_room_alias = "#known:example.org"
        self.commit()

        self.work()

        self.assertEqual(case.matrix_room_alias, "#known:example.org")
        self.assertFalse(case.matrix_room_id)

    def test_a_message_that_was_moved_is_posted_where_it_is_now(self):
        target = self.create_case(matrix_mirror_chatter=True)
        for delete in (False, True):
            case = self.open_case(matrix_mirror_chatter=True)
            self.settle()
            message = self.post(case, f"Moved {delete}")
            case.sudo().message_change_thread(target.sudo())
            if delete:
                case.sudo().unlink()
            self.commit()

            self.work()

            rooms = [(row["room_id"], row["res_id"]) for row in self.posted()]
            self.assertEqual(rooms, [(ROOM, target.id)])
            self.assertIn(f"Moved {delete}", self.posted()[0]["content"]["body"])
            self.assertEqual(message.res_id, target.id)
            self.assertNotIn("chatter", dict(self.not_posted()))

    def test_an_edit_reaches_the_room_although_other_messages_wait(self):
        case = self.create_case(matrix_mirror_chatter=True)
        self.commit()
        message = self.post(case, "Frist")
        self.requests._insert(case)

        case._message_update_content(message, body="First")
        self.commit()

        [row] = self.posted()
        self.assertTrue(row["content"]["body"].endswith("First"))
        self.log_all()
        case._message_update_content(message, body="Second")
        self.commit()
        [row] = self.posted()
        self.assertIn("m.new_content", row["content"])
        self.assertEqual(row["room_id"], ROOM)

    def test_what_failed_is_not_queued_again_while_its_room_is_being_created(self):
        case = self.create_case(matrix_mirror_chatter=True)
        self.commit()
        message = self.post(case, "Frist")
        failed = self.log(self.posted()[0]).with_user(self.manager)
        self.clear_waiting()
        self.requests._insert(case)
        case._matrix_enqueue("manual", "Waits")

        for again in (failed.action_send_again, failed.action_retry):
            with self.assertRaisesRegex(UserError, "being created. Try again once"):
                again()
        self.assertEqual(self.bodies(), [])
        self.assertFalse(failed.was_retried)

        self.work()
        failed.action_send_again()
        case._message_update_content(message, body="First")
        self.commit()
        author = message.author_id.name
        self.assertEqual(self.bodies(), ["Waits", f"{author}: First"])
        message.sudo().unlink()
        self.commit()
        self.assertEqual(self.bodies(), ["Waits"])

    def test_what_failed_in_the_default_room_overtakes_nothing(self):
        self.backend.write({"create_rooms": False, "default_room_id": ROOM})
        case = self.open_case()
        failed = self.log(self.outbox()[0]).with_user(self.manager)
        self.requests._insert(case)

        failed.action_retry()

        self.assertEqual(self.waiting(), [(ROOM, "case_created")])

    def clear_waiting(self):
        self.env.cr.execute("DELETE FROM matrix_outbox")

    def test_without_summaries_the_creation_comes_before_what_was_kept(self):
        self.backend.write({"create_rooms": False, "notify_case_summary": False})
        self.stages[1].matrix_create_room = True
        for by_hand in (False, True):
            case = self.open_case()
            self.settle()
            case.stage_id = self.stages[1]
            self.commit()
            if by_hand:
                case.matrix_room_id = ROOM
                self.commit()
            self.work()

            events = [event for _room, event in self.waiting()]
            self.assertEqual(events, ["case_created", "stage_changed"])
            self.clear_waiting()

    # What the cards read.

    def test_the_requests_are_read_once_for_all_cards(self):
        cases = self.open_case() | self.open_case() | self.open_case()

        one, all_of_them = (self.reads_of(cards) for cards in (cases[:1], cases))

        self.assertTrue(one)
        self.assertEqual(len(all_of_them), len(one))

    def reads_of(self, cards):
        """Return the statements about requests that the marks of ``cards`` take."""
        cursor = type(self.env.cr)
        execute = cursor.execute
        statements = []

        def watching(cr, query, *args, **kwargs):
            text = query.code if isinstance(query, SQL) else str(query)
            if "matrix_room_request" in text:
                statements.append(text)
            return execute(cr, query, *args, **kwargs)

        self.env.invalidate_all()
        with patch.object(cursor, "execute", watching):
            # Only these are read together.
            cards.browse(cards.ids).mapped("matrix_room_mark")
        return statements

    def test_the_requests_of_a_record_are_found_by_an_index(self):
        self.env.cr.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'matrix_room_request'"
        )
        definitions = " ".join(row for (row,) in self.env.cr.fetchall())

        self.assertIn("(res_model, res_id)", definitions)
