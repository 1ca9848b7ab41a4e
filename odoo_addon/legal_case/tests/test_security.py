from odoo.exceptions import AccessError
from odoo.tests import new_test_user

from .common import LegalCaseCommon


class TestSecurity(LegalCaseCommon):
    def visible(self, user, records):
        return records.with_user(user).search([("id", "in", records.ids)])

    def test_a_user_sees_the_cases_that_he_works_on(self):
        mine = self.create_case()
        as_lawyer = self.create_case(self.manager, lawyer_ids=[(6, 0, self.lawyer.ids)])
        followed = self.create_case(self.manager)
        followed.message_subscribe(self.lawyer.partner_id.ids)
        free = self.create_case(self.manager, user_id=False)
        foreign = self.create_case(self.manager)
        cases = mine | as_lawyer | followed | free | foreign

        self.assertEqual(self.visible(self.lawyer, cases), cases - foreign)
        self.assertEqual(self.visible(self.manager, cases), cases)
        with self.assertRaises(AccessError):
            foreign.with_user(self.lawyer).read(["name"])

    def test_hearings_are_seen_by_those_who_see_the_case(self):
        mine = self.create_case()
        foreign = self.create_case(self.manager)
        hearings = self.env["legal.hearing"].create(
            [
                {"name": "H", "case_id": case.id, "date_start": "2030-05-01 09:00:00"}
                for case in (mine, foreign)
            ]
        )

        self.assertEqual(self.visible(self.lawyer, hearings).case_id, mine)
        self.assertEqual(self.visible(self.manager, hearings), hearings)
        with self.assertRaises(AccessError):
            hearings.with_user(self.colleague).write({"location": "Elsewhere"})

    def test_a_case_may_be_opened_for_a_colleague(self):
        case = self.create_case(user_id=self.colleague.id)

        self.assertEqual(case.with_user(self.lawyer).name, "Client v. Rest")
        self.assertEqual(case.with_user(self.colleague).name, "Client v. Rest")

    def test_only_managers_delete_cases_and_set_up_stages(self):
        case = self.create_case()

        with self.assertRaises(AccessError):
            case.unlink()
        with self.assertRaises(AccessError):
            self.stage_first.with_user(self.lawyer).name = "Renamed"

        self.stage_first.with_user(self.manager).name = "Renamed"
        case.with_user(self.manager).unlink()

    def test_another_company_sees_nothing(self):
        case = self.create_case()
        hearing = self.env["legal.hearing"].create(
            {"name": "H", "case_id": case.id, "date_start": "2030-05-01 09:00:00"}
        )
        other = self.env["res.company"].create({"name": "Other"})
        stranger = new_test_user(
            self.env,
            login="stranger",
            groups="base.group_user,legal_case.legal_case_group_manager",
            company_id=other.id,
            company_ids=[(6, 0, other.ids)],
        )
        self.stage_second.company_id = self.company

        self.assertFalse(self.visible(stranger, case))
        self.assertFalse(self.visible(stranger, hearing))
        stages = self.stage_first | self.stage_second
        self.assertEqual(self.visible(stranger, stages), self.stage_first)
        with self.assertRaises(AccessError):
            hearing.with_user(stranger).read(["name"])

    def test_employees_without_the_group_see_nothing(self):
        employee = new_test_user(self.env, login="employee", groups="base.group_user")

        for model in ("legal.case", "legal.case.stage", "legal.hearing"):
            with self.assertRaises(AccessError):
                self.env[model].with_user(employee).search([])

    def test_the_groups_are_one_choice_on_the_user_form(self):
        user_group = self.env.ref("legal_case.legal_case_group_user")
        manager_group = self.env.ref("legal_case.legal_case_group_manager")
        shelf = (
            "privilege_id" if "privilege_id" in user_group._fields else "category_id"
        )

        self.assertTrue(user_group[shelf])
        self.assertEqual(user_group[shelf], manager_group[shelf])
