from odoo.tests import TransactionCase, new_test_user


class LegalCaseCommon(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.company
        cls.lawyer = new_test_user(
            cls.env,
            login="lawyer",
            name="Laura Lawyer",
            groups="base.group_user,legal_case.legal_case_group_user",
        )
        cls.colleague = new_test_user(
            cls.env,
            login="colleague",
            name="Carl Colleague",
            groups="base.group_user,legal_case.legal_case_group_user",
        )
        cls.manager = new_test_user(
            cls.env,
            login="case_manager",
            name="Mona Manager",
            groups="base.group_user,legal_case.legal_case_group_manager",
        )
        cls.client_partner = cls.env["res.partner"].create({"name": "Ida Client"})
        cls.stage_first, cls.stage_second = cls.env["legal.case.stage"].create(
            [
                {"name": "First", "sequence": -2},
                {"name": "Second", "sequence": -1},
            ]
        )

    @classmethod
    def create_case(cls, user=None, **values):
        cases = cls.env["legal.case"].with_user(user or cls.lawyer)
        return cases.create(
            {"name": "Client v. Rest", "partner_id": cls.client_partner.id, **values}
        )
