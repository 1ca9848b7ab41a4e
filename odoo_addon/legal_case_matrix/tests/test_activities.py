from itertools import count

from odoo.tests import tagged

from .common import ROOM, LegalMatrixCase

ANNA = "@anna:example.org"
_NUMBERS = count(1)


@tagged("post_install", "-at_install")
class TestActivities(LegalMatrixCase):
    """Activities are posted, and a reaction marks them as done."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.anna = cls.make_user(
            "anna", "legal_case.legal_case_group_user", matrix_user_id=ANNA
        )
        cls.backend.notify_activity_created = True
        cls.case.user_id = cls.anna
        cls.backend_state("ok", matrix_user_id="@odoo:example.org")
        cls.settle()

    def schedule(self, record=None, user=None):
        record = (record or self.case).with_user(self.lawyer)
        return record.activity_schedule(
            "mail.mail_activity_data_todo",
            "2030-05-01",
            "Send the brief",
            user_id=(user or self.anna).id,
        ).with_env(self.env)

    def sent(self):
        """Let the worker send what waits; return the event of the last message."""
        self.commit()
        for row in self.outbox():
            event = f"$sent{next(_NUMBERS)}"
            self.log(row, status="ok", matrix_event_id=event)
        return event

    def react(self, event_id, key="👍", sender=ANNA):
        event = {
            "type": "m.reaction",
            "event_id": f"$reaction{next(_NUMBERS)}",
            "room_id": ROOM,
            "sender": sender,
            "origin_server_ts": 1_700_000_000_000,
            "content": {
                "m.relates_to": {
                    "rel_type": "m.annotation",
                    "event_id": event_id,
                    "key": key,
                }
            },
        }
        self.env["matrix.inbound"]._ingest(self.backend, [event], {})
        self.commit()
        self.assertFalse(self.env["matrix.inbound"].search([("error", "!=", False)]))

    def is_open(self, activity):
        found = activity.with_context(active_test=False).exists()
        return bool(found) and found.active

    def test_a_new_activity_is_posted_with_its_person_and_date(self):
        self.schedule()
        (text,) = self.said()
        self.assertEqual(
            text, "To-Do for anna until 05/01/2030: Send the brief (Ida v. Rest)"
        )

    def test_activities_of_hearings_go_to_the_room_of_the_case(self):
        hearing = self.create_hearing()
        self.settle()
        self.schedule(hearing)
        self.commit()
        (row,) = self.outbox()
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(
            (row["res_model"], row["res_id"]), ("legal.case", self.case.id)
        )

    def test_without_the_option_and_on_other_records_nothing_is_posted(self):
        partner = self.partner
        partner.activity_schedule("mail.mail_activity_data_todo", user_id=self.anna.id)
        self.backend.notify_activity_created = False
        self.schedule()
        self.assertEqual(self.said(), [])

    def test_without_the_option_an_activity_costs_one_query_more(self):
        self.backend.notify_activity_created = False
        activities = self.env["mail.activity"]
        todo = self.env.ref("mail.mail_activity_data_todo")

        def count(records, **context):
            values = [
                {
                    "res_model_id": self.env["ir.model"]._get_id(record._name),
                    "res_id": record.id,
                    "activity_type_id": todo.id,
                    "user_id": self.anna.id,
                }
                for record in records
            ]
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            activities.with_context(**context).create(values)
            return self.env.cr.sql_log_count - before

        cases = self.case.browse().union(*(self.create_case() for _n in range(5)))
        people = self.partner.create([{"name": f"Person {n}"} for n in range(5)])
        self.settle()
        for records, more in ((cases, 1), (people, 0)):
            count(records)
            self.assertEqual(count(records) - count(records, matrix_failure=True), more)

    def test_at_commit_an_activity_costs_one_query_for_who_is_in_its_room(self):
        def queries(count):
            cases = self.case.browse().union(
                *(self.create_case(matrix_room_id=f"!{n}:m.org") for n in range(count))
            )
            self.settle()
            for case in cases:
                self.schedule(case)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.commit()
            self.assertEqual(len(self.outbox()), count)
            return self.env.cr.sql_log_count - before

        queries(2)
        few = queries(3)
        self.assertEqual(queries(12) - few, 12 - 3)

    def test_the_person_s_thumb_or_tick_marks_the_activity_as_done(self):
        for key in ("👍", "👍🏽", "✅", "✅\ufe0f"):
            with self.subTest(key):
                activity = self.schedule()
                self.react(self.sent(), key)
                self.assertFalse(self.is_open(activity))
                done = self.case.message_ids[0]
                self.assertEqual(done.author_id, self.anna.partner_id)
                self.assertIn("in Matrix", done.body)
                # What came from the room does not go back there.
                self.assertEqual(self.said(), [])

    def test_any_other_reaction_and_those_of_others_are_only_shown(self):
        colleague = self.make_user(
            "bert",
            "legal_case.legal_case_group_user",
            matrix_user_id="@bert:example.org",
        )
        activity = self.schedule()
        event = self.sent()
        self.react(event, "👎")
        self.react(event, sender="@stranger:example.org")
        self.react(event, sender=colleague.matrix_user_id)
        self.react("$unknown")
        self.assertTrue(self.is_open(activity))
        delivery = self.env["matrix.log"].search([("matrix_event_id", "=", event)])
        self.assertEqual(delivery.reactions, "👍 2  👎")

    def test_the_option_of_the_event_decides(self):
        self.backend.done_activity_created = False
        activity = self.schedule()
        event = self.sent()
        self.react(event)
        self.assertTrue(self.is_open(activity))
        self.backend.done_activity_created = True
        activity = self.schedule()
        event = self.sent()
        self.backend.done_activity_created = False
        self.react(event)
        self.assertTrue(self.is_open(activity))

    def test_a_second_reaction_and_one_to_a_deleted_activity_change_nothing(self):
        activity = self.schedule()
        event = self.sent()
        self.react(event)
        messages = self.case.message_ids
        self.react(event, "✅")
        self.assertEqual(self.case.message_ids, messages)
        activity = self.schedule()
        event = self.sent()
        activity.unlink()
        self.react(event)
        self.assertFalse(activity.exists())

    def test_sent_again_it_is_still_about_the_activity(self):
        activity = self.schedule()
        self.commit()
        failed = self.log(self.outbox()[0])
        failed.with_user(self.manager).action_send_again()
        self.react(self.sent())
        self.assertFalse(self.is_open(activity))

    def test_a_hearing_s_message_finishes_the_only_activity_of_who_reacts(self):
        self.backend.done_hearing_created = True
        hearing = self.create_hearing()
        event = self.sent()
        self.backend.notify_activity_created = False
        one = self.schedule(hearing)
        others = self.schedule(hearing, self.lawyer) | self.schedule(self.case)
        second = self.schedule(hearing)
        self.react(event)
        self.assertTrue(self.is_open(one) and self.is_open(second), "which one?")
        second.unlink()
        self.react(event, "✅")
        self.assertFalse(self.is_open(one))
        self.assertTrue(all(self.is_open(activity) for activity in others))

    def test_the_activity_about_a_failed_message_is_not_posted(self):
        self.lawyer.matrix_failure_notice = "activity"
        self.case._matrix_enqueue("manual", "Hello")
        self.commit()
        row = self.outbox()[0]
        self.log({**row, "user_id": self.lawyer.id}, error_code="M_FORBIDDEN")
        self.env["matrix.failure.notice"]._cron_report()
        self.assertTrue(self.case.activity_ids)
        self.assertEqual(self.said(), [])

    def test_an_activity_mentions_the_person_to_whom_it_is_assigned(self):
        self.env["matrix.room.person"].create(
            {
                "res_model": "legal.case",
                "res_id": self.case.id,
                "room_id": ROOM,
                "user_id": self.anna.id,
                "account": ANNA,
                "state": "in",
            }
        )
        self.schedule()
        self.commit()
        (row,) = self.outbox()
        self.assertEqual(row["content"]["m.mentions"], {"user_ids": [ANNA]})
        self.assertTrue(row["content"]["body"].startswith("To-Do for anna until"))
