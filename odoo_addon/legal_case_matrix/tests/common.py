from odoo.addons.mail_matrix.tests.common import MatrixCase

ROOM = "!case:example.org"


class LegalMatrixCase(MatrixCase):
    """A lawyer with the least rights that the work needs, and a linked case."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lawyer = cls.make_user(
            "matrix-lawyer",
            "legal_case.legal_case_group_user",
            "mail_matrix.group_matrix_user",
        )
        cls.partner = cls.env["res.partner"].create({"name": "Ida Client"})
        cls.stages = cls.env["legal.case.stage"].create(
            [{"name": "Intake", "sequence": -2}, {"name": "Court", "sequence": -1}]
        )
        cls.case = cls.create_case()
        cls.settle()

    @classmethod
    def create_case(cls, **values):
        return (
            cls.env["legal.case"]
            .with_user(cls.lawyer)
            .create(
                {
                    "name": "Ida v. Rest",
                    "partner_id": cls.partner.id,
                    "matrix_room_id": ROOM,
                    **values,
                }
            )
        )

    @classmethod
    def create_hearing(cls, **values):
        return (
            cls.env["legal.hearing"]
            .with_user(cls.lawyer)
            .create(
                {
                    "name": "Oral hearing",
                    "case_id": cls.case.id,
                    "date_start": "2030-05-01 07:00:00",
                    "location": "Room 204",
                    **values,
                }
            )
        )

    @classmethod
    def settle(cls):
        """Commit what was done so far and forget its messages."""
        cls.commit()
        cls.clear_outbox()

    def said(self):
        """Return the texts that the commit brings."""
        self.commit()
        return self.bodies()
