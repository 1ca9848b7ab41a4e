from odoo.exceptions import UserError
from odoo.tests import tagged

from .test_create_room import BOT
from .test_room import FORBIDDEN
from .test_room_request import RoomRequestCase

ANNA = "@anna:example.org"


@tagged("post_install", "-at_install")
class TestEarlyMessage(RoomRequestCase):
    """What is known only when the room is there, and what must be known then."""

    def setUp(self):
        super().setUp()
        self.anna = self.make_user(
            "anna", "legal_case.legal_case_group_user", matrix_user_id=ANNA
        )
        self.profile("anna")
        self.backend.notify_case_summary = False
        self.settle()

    def content(self):
        (row,) = self.outbox()
        return row["content"]

    # Mentions.

    def test_a_message_mentions_who_was_invited_when_the_room_was_created(self):
        self.backend.mention_case_created = True
        self.open_case(user_id=self.anna.id)
        self.assertEqual(self.outbox(), [])

        self.work()

        content = self.content()
        self.assertEqual(content["m.mentions"], {"user_ids": [ANNA]})
        self.assertTrue(content["body"].startswith("anna: Case Moon v. Sun created"))
        self.assertIn(f"https://matrix.to/#/{ANNA}", content["formatted_body"])
        self.assertEqual(content["org.odoo.outbox"], self.outbox()[0]["txn_id"])

    def test_nobody_who_could_not_be_invited_is_mentioned(self):
        self.backend.mention_case_created = True
        self.answers["POST", "/rooms/!new0/invite"] = FORBIDDEN
        self.open_case(user_id=self.anna.id)

        self.work()

        self.assertNotMentioned()

    def test_nobody_is_mentioned_by_an_account_that_is_not_theirs_any_more(self):
        self.backend.mention_case_created = True
        self.open_case(user_id=self.anna.id)
        self.anna.matrix_user_id = "@new:example.org"
        self.profile("new")

        self.work()

        self.assertNotMentioned()

    def test_nobody_is_mentioned_without_the_option_or_by_their_own_action(self):
        self.open_case(user_id=self.anna.id)
        self.work()
        self.assertNotMentioned()
        self.clear_outbox()
        self.backend.mention_case_created = True
        self.lawyer.sudo().matrix_user_id = "@matrix-lawyer:example.org"

        self.open_case(user_id=self.lawyer.id)
        self.work()

        self.assertNotMentioned()

    def assertNotMentioned(self):
        content = self.content()
        self.assertEqual(content["m.mentions"], {})
        self.assertTrue(content["body"].startswith("Case Moon v. Sun created"))

    # Reactions.

    def test_a_reaction_finishes_the_activity_whose_message_waited_for_its_room(self):
        self.backend.notify_activity_created = True
        self.backend_state("ok", matrix_user_id=BOT)
        case = self.open_case(user_id=self.anna.id)
        activity = case.activity_schedule(
            "mail.mail_activity_data_todo", user_id=self.anna.id
        )
        self.commit()
        self.work()
        posted = [r for r in self.outbox() if r["event_type"] == "activity_created"]
        self.log(posted[0], status="ok", matrix_event_id="$sent")

        relation = {"rel_type": "m.annotation", "event_id": "$sent", "key": "✅"}
        reaction = {
            "type": "m.reaction",
            "event_id": "$reaction",
            "room_id": "!new0",
            "sender": ANNA,
            "origin_server_ts": 1_700_000_000_000,
            "content": {"m.relates_to": relation},
        }
        self.env["matrix.inbound"]._ingest(self.backend, [reaction], {})
        self.commit()

        done = activity.with_env(self.env).with_context(active_test=False).exists()
        self.assertFalse(done and done.active)

    # Moved to another record.

    def test_a_message_that_was_moved_where_no_chatter_is_posted_is_in_the_log(self):
        target = self.create_case()
        self.settle()
        for text, is_internal in (("For the room", False), ("For colleagues", True)):
            case = self.open_case(matrix_mirror_chatter=True)
            message = case.message_post(
                body=text, message_type="comment", subtype_xmlid="mail.mt_comment"
            )
            self.commit()
            case.sudo().message_change_thread(target.sudo())
            message.sudo().is_internal = is_internal
            self.commit()

            self.work()

            failures = [r for r in self.failures() if r["event_type"] == "chatter"]
            if is_internal:
                self.assertEqual(failures, [])
            else:
                (failure,) = failures
                self.assertEqual(failure["error_code"], "org.odoo.room_not_created")
                self.assertIn("moved to a record", failure["error_message"])
                self.assertEqual(failure["res_id"], case.id)
            self.clear_outbox()

    # Not sent at all.

    def test_a_chatter_message_that_a_manager_discards_is_written_again(self):
        case = self.open_case(matrix_mirror_chatter=True)
        message = case.message_post(
            body="Frist", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.commit()
        case._message_update_content(message, body="First")
        self.commit()
        waiting = self.env["matrix.message"].with_user(self.manager)
        waiting = waiting.search(waiting._domain_of(case))
        waiting.filtered(lambda row: row.event_type == "chatter").action_discard()

        log = self.env["matrix.log"].with_user(self.manager)
        log = log.search([("event_type", "=", "chatter")])
        self.assertEqual(log.payload, f"{message.author_id.name}: First")
        self.assertIn("Write it again in the chatter", log.hint)
        self.work()
        with self.assertRaisesRegex(UserError, "Write it again there"):
            log.action_send_again()

    def test_a_file_that_was_removed_is_not_in_the_log(self):
        self.backend.send_files = True
        case = self.open_case(matrix_mirror_chatter=True)
        message = case.message_post(
            body="With files",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            attachments=[("kept.txt", b"Kept"), ("gone.txt", b"Gone")],
        )
        self.commit()
        gone = message.attachment_ids.filtered(lambda file: file.name == "gone.txt")
        message.sudo().attachment_ids -= gone
        case.matrix_enabled = False
        self.commit()

        self.work()

        rows = [row for row in self.failures() if row["event_type"] == "chatter"]
        text, file = rows
        self.assertNotIn("gone.txt", text["payload"])
        self.assertEqual(file["payload"], "kept.txt")
        self.assertFalse(file["content"])
