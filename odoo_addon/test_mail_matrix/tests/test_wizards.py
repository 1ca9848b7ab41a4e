from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged

from .common import ROOM, TicketCase


@tagged("post_install", "-at_install")
class TestWizards(TicketCase):
    def compose(self, body, mentioned=None):
        action = self.as_user(self.ticket).action_matrix_compose()
        composers = self.env["matrix.composer"].with_user(self.user)
        form = Form(composers.with_context(**action["context"]))
        form.body = body
        for user in mentioned or self.env["res.users"]:
            form.mention_ids.add(user)
        return form.save()

    def test_the_composer_posts_in_the_room_and_mentions(self):
        ann = self.make_user("Ann", matrix_user_id="@ann:example.org")
        bob = self.make_user("Bob", matrix_user_id="@bob:example.org")
        self.compose("Ann <please> look\ntoday", ann | bob).action_send()

        (row,) = self.outbox()
        content = row["content"]
        self.assertEqual(row["room_id"], ROOM)
        self.assertEqual(content["body"], "Bob: Ann <please> look\ntoday")
        self.assertEqual(
            content["m.mentions"],
            {"user_ids": ["@ann:example.org", "@bob:example.org"]},
        )
        self.assertEqual(
            content["formatted_body"],
            '<a href="https://matrix.to/#/@bob:example.org">Bob</a>: '
            '<a href="https://matrix.to/#/@ann:example.org">Ann</a> '
            "&lt;please&gt; look<br/>today",
        )

    def test_two_people_of_one_name_are_both_mentioned(self):
        one = self.make_user("ann-1", name="Ann", matrix_user_id="@ann1:example.org")
        two = self.make_user("ann-2", name="Ann", matrix_user_id="@ann2:example.org")
        self.compose("Announcement", one | two).action_send()

        content = self.outbox()[0]["content"]
        self.assertEqual(content["body"], "Ann, Ann: Announcement")
        self.assertEqual(
            content["m.mentions"]["user_ids"],
            ["@ann1:example.org", "@ann2:example.org"],
        )

    def test_an_at_and_a_name_of_the_records_people_is_a_mention(self):
        ann = self.make_user(
            "Ann", "base.group_user", matrix_user_id="@ann:example.org"
        )
        self.make_user("Bob", "base.group_user", matrix_user_id="@bob:example.org")
        self.ticket.message_subscribe(ann.partner_id.ids)
        ticket = self.as_user(self.ticket)
        people = [{"name": "Ann", "matrix_user_id": "@ann:example.org"}]
        self.assertEqual(ticket.get_matrix_people(), people)

        ticket.matrix_message = "@Ann and @Bob, <look> @Annual"
        ticket.action_matrix_send_message()
        content = self.outbox()[0]["content"]
        self.assertEqual(content["m.mentions"], {"user_ids": ["@ann:example.org"]})
        self.assertEqual(
            content["formatted_body"],
            '<a href="https://matrix.to/#/@ann:example.org">@Ann</a> and @Bob, '
            "&lt;look&gt; @Annual",
        )
        employee = self.make_user("employee", "base.group_user")
        with self.assertRaises(AccessError):
            self.ticket.with_user(employee).get_matrix_people()

    def test_the_composer_shows_what_the_room_will_show(self):
        self.backend.sign_messages = True
        composer = self.compose("Look <here>\nplease")

        self.assertEqual(
            str(composer.preview), "matrix-user: Look &lt;here&gt;<br/>please"
        )
        self.assertEqual(self.bodies(), [])
        self.assertFalse(self.compose("x" * 70_000).preview)

    def test_the_people_of_the_record_are_offered_first(self):
        ann = self.make_user(
            "Ann", "base.group_user", matrix_user_id="@ann:example.org"
        )
        bob = self.make_user("Bob", "base.group_user")
        self.user.sudo().matrix_user_id = "@me:example.org"
        people = (ann | bob | self.user).partner_id
        self.ticket.message_subscribe(people.ids)

        composer = self.compose("Look")
        self.assertEqual(composer.candidate_ids, ann)
        composer.people_ids = ann
        composer.action_send()

        content = self.outbox()[0]["content"]
        self.assertEqual(content["body"], "Ann: Look")
        self.assertEqual(content["m.mentions"]["user_ids"], ["@ann:example.org"])

    def test_a_draft_is_not_sent_twice(self):
        mine = self.as_user(self.ticket)
        mine.matrix_message = "Please look"
        composer = self.compose("Please look, Ann")

        composer.action_send()

        self.assertFalse(mine.matrix_message)

    def test_another_draft_written_meanwhile_is_kept(self):
        mine = self.as_user(self.ticket)
        mine.matrix_message = "Please look"
        composer = self.compose("Please look, Ann")
        mine.matrix_message = "And another thing"

        composer.action_send()

        self.assertEqual(mine.matrix_message, "And another thing")

    def test_the_composer_shows_how_much_fits(self):
        self.assertFalse(self.compose("Short").fullness)
        self.assertEqual(self.compose("x" * 48 * 1024).fullness, "48 of 60 KB")
        with self.assertRaisesRegex(UserError, "too long"):
            self.compose("x" * 70 * 1024).action_send()

    def test_the_composer_does_not_bypass_access_rights(self):
        composer = self.env["matrix.composer"].with_user(self.user)
        other = {"res_model": "res.partner", "res_id": 1, "body": "Hello"}
        with self.assertRaisesRegex(UserError, "cannot have a Matrix room"):
            composer.create(other).action_send()
        company = self.env["res.company"].create({"name": "Branch"})
        hidden = self.ticket.copy({"company_id": company.id, "matrix_room_id": "!b"})
        self.commit()
        self.clear_outbox()
        values = {"res_model": hidden._name, "res_id": hidden.id, "body": "Hello"}
        with self.assertRaises(AccessError):
            composer.create(values).action_send()
        with self.assertRaises(AccessError):
            composer.create(values).candidate_ids.mapped("name")
        self.assertEqual(self.outbox(), [])

    def preview(self, event_type, record):
        return (
            self.env["matrix.preview"]
            .with_user(self.manager)
            .create(
                {
                    "backend_id": self.backend.id,
                    "event_type": event_type,
                    "record_ref": f"{record._name},{record.id}",
                }
            )
        )

    def test_a_text_is_previewed_for_a_real_record(self):
        preview = self.preview("ticket_moved", self.ticket)

        self.assertEqual(preview.body, "Ticket Leaking tap moved to New")
        self.assertIn(">Leaking tap</a> moved to New", preview.html)
        self.assertFalse(preview.problem)
        self.assertEqual(self.outbox(), [], "A preview sends nothing")

    def test_the_test_text_is_previewed_as_it_is_sent(self):
        self.backend.template_test = "Hello from {{ object.name }}"
        events = dict(self.env["matrix.preview"]._selection_event_type())

        preview = self.preview("test", self.ticket)

        self.assertIn("test", events)
        self.assertEqual(preview.body, "Hello from Leaking tap")
        self.as_user(self.ticket).action_matrix_send_test()
        self.assertIn(self.outbox()[0]["content"]["formatted_body"], preview.html)

    def test_the_preview_of_the_chatter_shows_the_last_message(self):
        self.assertIn(
            "no chatter messages", self.preview("chatter", self.ticket).problem
        )

        self.ticket.message_post(body="The tap is new.", message_type="comment")

        preview = self.preview("chatter", self.ticket)

        self.assertIn(": The tap is new.", preview.body)

    def test_a_text_that_fails_is_explained(self):
        self.backend.template_ticket_moved = "{{ object.name < 1 }}"

        preview = self.preview("ticket_moved", self.ticket)

        self.assertIn("“<” in {{ object.name < 1 }} is not allowed", preview.problem)
        self.assertFalse(preview.body)
