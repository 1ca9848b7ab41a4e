from .common import ROOM
from .test_follow import AMY, FollowCase


class TestFormer(FollowCase):
    """Amy is still in the room of the case with an account that she no longer has."""

    def read_former_note(self):
        """Return what Amy's client reads, which Odoo computes with all rights."""
        self.amy.invalidate_recordset()
        reader = self.amy.with_user(self.amy).sudo(False)
        [values] = reader.read(["matrix_former_note"])
        return values["matrix_former_note"]

    def test_who_changes_an_account_reads_that_the_former_one_stays_in_rooms(self):
        for reader, named in (
            (self.lawyer, True),
            (self.amy, True),
            (self.user, False),
        ):
            form = self.amy.with_user(reader).sudo(False)
            edited = form.new({"matrix_user_id": "@amy:other.example"}, origin=form)
            message = edited._matrix_warning_of_former()["warning"]["message"]
            self.assertIn(AMY, message)
            self.assertEqual(self.case.name in message, named, reader.name)

        self.assertFalse(self.amy.with_user(self.amy).matrix_former_note)
        self.amy.with_user(self.amy).matrix_user_id = False
        self.amy.invalidate_recordset()
        self.assertIn(AMY, self.amy.with_user(self.amy).matrix_former_note)

    def test_who_has_a_former_account_reads_no_name_of_a_record_of_others(self):
        self.amy.matrix_user_id = False
        self.assertIn(self.case.name, self.read_former_note())
        other = self.env["res.company"].create({"name": "Another Firm"})
        self.amy.write({"company_ids": [(6, 0, other.ids)], "company_id": other.id})
        reader = self.case.with_user(self.amy).sudo(False)
        self.assertFalse(reader.search([("id", "=", self.case.id)]))

        note = self.read_former_note()

        self.assertNotIn(self.case.name, note)
        self.assertIn("Further rooms: 1.", note)

    def test_two_former_accounts_in_one_room_are_one_room(self):
        self.amy.matrix_user_id = False
        self.env["matrix.room.person"].sudo().create(
            {
                "res_model": self.case._name,
                "res_id": self.case.id,
                "room_id": ROOM,
                "user_id": self.amy.id,
                "account": "@amy:other.example",
                "state": "left",
            }
        )

        note = self.read_former_note()

        self.assertIn(self.case.name, note)
        self.assertIn("@amy:other.example", note)
        self.assertNotIn("Further rooms", note)
