from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import tagged

from .common import ROOM
from .test_create_room import CreateRoomCase
from .test_room import FORBIDDEN

DEFAULT = "!default:example.org"


class RoomRequestCase(CreateRoomCase):
    """New cases get rooms by themselves."""

    def setUp(self):
        super().setUp()
        self.backend.create_rooms = True
        self.requests = self.env["matrix.room.request"].sudo()
        self.settle()
        self.homeserver.requests.clear()

    def open_case(self, **values):
        values = {"name": "Moon v. Sun", "matrix_room_id": False, **values}
        case = self.create_case(**values)
        self.commit()
        return case

    def work(self, rounds=4):
        """Let the scheduled action run, one transaction after the other."""
        for _round in range(rounds):
            self.requests._cron_look()
            self.commit()
            self.env.invalidate_all()

    def due_now(self):
        self.requests.search([]).again_at = False

    def refused_case(self, **values):
        """Return a case whose room the homeserver did not create."""
        self.answers["POST", "/createRoom"] = FORBIDDEN
        case = self.open_case(**values)
        self.work(1)
        self.answers["POST", "/createRoom"] = self.create_room
        return case

    def not_posted(self):
        return [(row["event_type"], row["error_code"]) for row in self.failures()]

    def waiting(self):
        return [(row["room_id"], row["event_type"]) for row in self.outbox()]

    def shown(self, case):
        rows = case.get_matrix_deliveries()["rows"]
        return [(row["event"], row["outcome"]) for row in reversed(rows)]


@tagged("post_install", "-at_install")
class TestRoomRequest(RoomRequestCase):
    def test_a_new_case_gets_a_room_that_opens_with_its_summary(self):
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"
        case = self.open_case()
        case.stage_id = self.stages[1]
        self.create_hearing(case_id=case.id)
        self.commit()
        case._matrix_enqueue("manual", "Hello")

        self.assertEqual(self.homeserver.requests, [], "Saving asks nobody")
        self.assertEqual(self.outbox(), [])
        self.assertEqual(case.matrix_room_request, "open")
        posted = ["Case summary", "Stage changed", "Hearing created", "Manual message"]
        self.assertEqual(self.shown(case), [(event, "waiting") for event in posted])
        self.assertEqual(case.matrix_message_count, 4)

        self.work()

        self.assertEqual(self.created, ["!new0"])
        self.assertEqual(
            self.waiting(),
            [
                ("!new0", event)
                for event in (
                    "case_summary",
                    "stage_changed",
                    "hearing_created",
                    "manual",
                )
            ],
        )
        summary = self.bodies()[0].splitlines()
        self.assertEqual(summary[0], f"Case Moon v. Sun ({case.reference})")
        self.assertEqual(summary[1], "Client: Ida Client")
        self.assertEqual(case.matrix_room_id, "!new0")
        self.assertTrue(case.matrix_room_alias)
        self.assertEqual(case.matrix_room_health, "ok")
        self.assertFalse(case.matrix_room_request)
        self.assertEqual(len(self.invited()), 1)
        self.assertFalse(self.requests.search([]))

        case._matrix_enqueue("manual", "Later")
        self.assertEqual(self.waiting()[-1], ("!new0", "manual"))
        self.assertEqual(self.created, ["!new0"])

    def test_a_stage_gives_the_cases_that_enter_it_a_room(self):
        self.backend.create_rooms = False
        self.stages[1].matrix_create_room = True
        self.backend.default_room_id = DEFAULT
        case = self.open_case()
        self.work()
        self.assertEqual(self.waiting(), [(DEFAULT, "case_created")])

        case.stage_id = self.stages[1]
        self.commit()
        self.work()

        opened = [("!new0", "case_summary"), ("!new0", "stage_changed")]
        self.assertEqual(self.waiting()[1:], opened)
        case.stage_id = self.stages[0]
        case.stage_id = self.stages[1]
        self.commit()
        self.work()
        self.assertEqual(self.created, ["!new0"], "It has a room already")

        self.open_case(stage_id=self.stages[1].id)
        self.work()
        self.assertEqual(len(self.created), 2, "Created in the stage")

    def test_cases_with_a_room_or_without_matrix_get_none(self):
        for values in (
            {"matrix_room_id": ROOM},
            {"matrix_enabled": False},
            {"matrix_room_alias": "#known:example.org"},
        ):
            case = self.open_case(**values)
            self.assertFalse(case.matrix_room_request)
        with_install = self.env["legal.case"].with_context(install_mode=True)
        with_install.create({"name": "Demo", "partner_id": self.partner.id})
        self.backend.is_active = False
        self.open_case()
        self.commit()

        self.assertFalse(self.requests.search([]))

    def test_who_has_nothing_to_do_with_matrix_causes_rooms_too(self):
        clerk = self.make_user("clerk", "legal_case.legal_case_group_user")
        values = {"name": "By a clerk", "partner_id": self.partner.id}
        case = self.env["legal.case"].with_user(clerk).create(values)
        self.commit()

        self.work()

        self.assertEqual(case.sudo().matrix_room_id, "!new0")

    def test_the_default_room_gets_nothing_of_a_case_whose_room_is_being_created(self):
        self.backend.default_room_id = DEFAULT
        case = self.open_case()
        case.action_matrix_send_test()
        self.commit()
        self.assertEqual(self.outbox(), [])

        self.work()

        rooms = {room for room, _event in self.waiting()}
        self.assertEqual(rooms, {"!new0"})

    def test_without_summaries_the_room_opens_with_the_creation_of_the_case(self):
        self.backend.notify_case_summary = False
        self.open_case()

        self.work()

        self.assertEqual(self.waiting(), [("!new0", "case_created")])

    def test_the_button_creates_the_same_room_and_opens_it_in_the_same_way(self):
        self.backend.create_rooms = False
        case = self.open_case()
        case.action_matrix_create_room()
        self.commit()
        self.assertEqual(self.waiting(), [("!new0", "case_summary")])

        self.backend.create_rooms = True
        case = self.open_case()
        case.action_matrix_create_room()
        self.commit()
        self.work()

        self.assertEqual(self.created, ["!new0", "!new1"])
        self.assertEqual(self.waiting()[1:], [("!new1", "case_summary")])

    def test_a_homeserver_that_is_away_is_asked_again(self):
        account = self.answers["GET", "/account/whoami"]
        self.answers["GET", "/account/whoami"] = (503, b"")
        case, other = self.open_case(), self.open_case(name="Other")
        case._matrix_enqueue("manual", "Hello")

        self.work()

        self.assertEqual(case.matrix_room_request, "failed")
        self.assertRegex(
            case.matrix_room_request_note, "could not be created: .*again at"
        )
        self.assertEqual(other.matrix_room_request, "failed", "It was not even tried")
        self.assertEqual(self.homeserver.requests, [("GET", "/account/whoami", None)])
        reason = case.get_matrix_deliveries()["rows"][0]["note"]
        self.assertEqual(reason, case.matrix_room_request_note)
        self.assertEqual(case.matrix_room_mark, "failed")

        self.work()
        self.assertEqual(len(self.homeserver.requests), 1, "Not before its time")
        self.answers["GET", "/account/whoami"] = account
        self.due_now()
        self.work(6)

        self.assertEqual(len(self.created), 2)
        self.assertEqual(case.matrix_room_mark, False)
        rows = [row for row in self.outbox() if row["res_id"] == case.id]
        events = [row["event_type"] for row in rows]
        self.assertEqual(events, ["case_summary", "manual"])

    def test_a_refusal_is_explained_and_asked_again_less_and_less_often(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        case = self.open_case()
        pauses = []
        for _try in range(10):
            self.due_now()
            self.work(1)
            again_at = self.requests.search([]).again_at
            pauses.append((again_at - fields.Datetime.now()).total_seconds())

        self.assertIn("You may not", case.matrix_room_request_note)
        self.assertEqual([round(pause / 60) for pause in pauses[:3]], [1, 2, 4])
        self.assertEqual(round(pauses[-1] / 60), 60)

    def test_a_room_that_is_entered_meanwhile_gets_what_was_written(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        case = self.open_case()
        self.work()
        case._matrix_enqueue("manual", "Hello")

        case.matrix_room_id = ROOM
        self.commit()
        self.work()

        self.assertEqual(self.waiting(), [(ROOM, "case_summary"), (ROOM, "manual")])
        self.assertFalse(self.requests.search([]))

    def test_turned_off_meanwhile_nothing_is_created_and_the_log_says_why(self):
        case = self.open_case()
        case._matrix_enqueue("manual", "Hello")
        case.matrix_enabled = False
        self.commit()

        self.work()

        self.assertEqual(self.homeserver.requests, [])
        self.assertFalse(self.requests.search([]))
        ended = [("Case summary", "not_posted"), ("Manual message", "failed")]
        self.assertEqual(self.shown(case), ended)
        self.assertFalse(case.matrix_room_request)
        self.assertFalse(case.get_matrix_deliveries()["rows"][0]["can_retry"])
        failed = self.env["matrix.log"].search([("event_type", "=", "manual")])
        self.assertIn("create or link its room", failed.hint)
        case.matrix_enabled = True
        case.matrix_room_id = ROOM
        failed.with_user(self.manager).action_send_again()
        self.assertEqual(self.bodies(), ["Hello"])

    def test_a_case_that_was_deleted_holds_up_no_other(self):
        self.open_case().sudo().unlink()
        case = self.open_case()
        self.work()

        self.assertEqual(case.matrix_room_id, "!new0")
        [row] = self.failures()
        self.assertEqual(row["error_code"], "org.odoo.no_room")

    def test_a_manager_discards_and_sends_again(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        case = self.open_case()
        case._matrix_enqueue("manual", "Hello")
        messages = self.env["matrix.message"].with_user(self.manager)
        domain = messages._domain_of(case)
        hello = messages.search(domain).filtered(lambda row: row.payload == "Hello")
        self.assertIn("being created", hello.reason)

        hello.action_discard()

        self.env.invalidate_all()
        outcomes = {row.payload: row.outcome for row in messages.search(domain)}
        self.assertEqual(outcomes["Hello"], "discarded")
        log = self.env["matrix.log"].with_user(self.manager)
        log = log.search([("payload", "=", "Hello")])
        for again in (log.action_retry, log.action_send_again):
            with self.assertRaisesRegex(UserError, "being created. Try again once"):
                again()
        case.matrix_room_id = ROOM
        self.commit()
        self.work()
        log.action_send_again()
        self.assertEqual(self.bodies()[-1], "Hello")

    def test_a_chatter_message_goes_as_it_is_when_the_room_is_there(self):
        case = self.open_case(matrix_mirror_chatter=True)
        comment = {"message_type": "comment", "subtype_xmlid": "mail.mt_comment"}
        kept, gone = (case.message_post(body=text, **comment) for text in ("A", "B"))
        self.commit()
        case._message_update_content(kept, body="Corrected")
        gone.sudo().unlink()
        self.commit()

        self.work()

        author = kept.author_id.name
        self.assertEqual(self.bodies()[1:], [f"{author}: Corrected"])
        case._message_update_content(kept, body="Twice")
        self.commit()
        self.assertEqual(self.bodies()[1:], [f"{author}: Twice"])

    def test_what_was_written_while_the_room_was_linked_is_not_left_behind(self):
        """A transaction that began before the link commits after it."""
        case = self.open_case()
        outbox = self.env["matrix.outbox"]
        values = {"backend_id": self.backend.id, "res_model": case._name}
        values |= {"res_id": case.id, "room_id": None}
        row = outbox._row(self.backend, "manual", "Slow", values)
        self.work()
        outbox._insert_rows([row])

        case._matrix_enqueue("manual", "Quick, and after it")
        self.assertEqual(len(self.outbox()), 1, "It waits for the slow one")
        self.commit()
        self.work(1)

        self.assertEqual(self.bodies()[1:], ["Slow", "Quick, and after it"])

    def test_a_message_does_not_bring_the_next_try_forward(self):
        self.answers["POST", "/createRoom"] = FORBIDDEN
        case = self.open_case()
        self.work()
        self.homeserver.requests.clear()

        case._matrix_enqueue("manual", "Hello")
        self.commit()
        self.work()

        self.assertEqual(self.homeserver.requests, [])
