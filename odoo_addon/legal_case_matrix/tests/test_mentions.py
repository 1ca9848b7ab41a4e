from odoo.tests import tagged

from .common import ROOM, LegalMatrixCase

ANNA = "@anna:example.org"


@tagged("post_install", "-at_install")
class TestMentions(LegalMatrixCase):
    """Events mention the person who is responsible for the case."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.anna = cls.make_user(
            "anna", "legal_case.legal_case_group_user", matrix_user_id=ANNA
        )
        cls.anna.name = "Anna <b>Advocate</b>"
        cls.backend.mention_stage_changed = True
        cls.case.user_id = cls.anna
        cls.settle()
        cls.meet()

    @classmethod
    def meet(cls, **values):
        """Remember that Anna is in the room."""
        people = cls.env["matrix.room.person"]
        people._of(cls.case).unlink()
        people.create(
            {
                "res_model": "legal.case",
                "res_id": cls.case.id,
                "room_id": ROOM,
                "user_id": cls.anna.id,
                "account": ANNA,
                "state": "in",
                **values,
            }
        )

    def moved(self, user=None):
        """Return the content of the message about a new stage."""
        case = self.case.with_user(user or self.lawyer)
        case.stage_id = self.stages.filtered(lambda stage: stage != case.stage_id)[0]
        self.commit()
        (row,) = self.outbox()
        self.clear_outbox()
        return row["content"]

    def assertNotMentioned(self, content):
        self.assertEqual(content["m.mentions"], {})
        self.assertNotIn("Anna", content["body"])

    def test_the_responsible_person_is_notified_and_the_name_is_escaped(self):
        content = self.moved()
        self.assertEqual(content["m.mentions"], {"user_ids": [ANNA]})
        self.assertTrue(content["body"].startswith("Anna <b>Advocate</b>: Case Ida"))
        self.assertIn(
            f'<a href="https://matrix.to/#/{ANNA}">'
            "Anna &lt;b&gt;Advocate&lt;/b&gt;</a>: Case",
            content["formatted_body"],
        )

    def test_a_name_in_the_text_is_linked_where_it_is(self):
        self.backend.template_stage_changed = (
            "{{ object.name }}: ask {{ object.user_id.name }}"
        )
        content = self.moved()
        self.assertEqual(content["body"], "Ida v. Rest: ask Anna <b>Advocate</b>")
        self.assertIn(
            f'ask <a href="https://matrix.to/#/{ANNA}">', content["formatted_body"]
        )
        self.assertEqual(content["m.mentions"], {"user_ids": [ANNA]})

    def test_a_room_is_never_mentioned_as_a_whole(self):
        self.anna.name = self.case.name = "@room"
        content = self.moved()
        self.assertEqual(content["m.mentions"], {"user_ids": [ANNA]})
        self.backend.mention_stage_changed = False
        self.assertEqual(self.moved()["m.mentions"], {})

    def test_nobody_is_notified_of_their_own_action_or_without_the_option(self):
        self.assertNotMentioned(self.moved(self.anna))
        self.backend.mention_stage_changed = False
        self.assertNotMentioned(self.moved())

    def test_only_people_who_are_known_to_be_in_the_room_are_mentioned(self):
        for absent in (
            {"state": "refused"},
            {"state": "left"},
            {"room_id": "!before:example.org"},
            {"account": "@anna.before:example.org"},
        ):
            with self.subTest(absent):
                self.meet(**absent)
                self.assertNotMentioned(self.moved())
        self.meet()
        self.anna.matrix_user_id = False
        self.assertNotMentioned(self.moved())

    def test_a_hearing_mentions_the_person_responsible_for_its_case(self):
        self.backend.mention_hearing_created = True
        self.create_hearing()
        self.commit()
        (row,) = self.outbox()
        self.assertEqual(row["content"]["m.mentions"], {"user_ids": [ANNA]})
