from odoo.tests import TransactionCase, tagged

from odoo.addons.mail_matrix.tests.translations import TranslationChecks


@tagged("post_install", "-at_install")
class TestTranslation(TranslationChecks, TransactionCase):
    addon = "legal_case_matrix"

    def test_the_mark_of_a_room_is_german(self):
        self.env["res.lang"]._activate_lang("de_DE")
        modules = self.env["ir.module.module"]
        modules._load_module_terms(["mail_matrix"], ["de_DE"], overwrite=True)
        cases = self.env["legal.case"].with_context(lang="de_DE")
        mark = cases.fields_get(["matrix_room_mark"])["matrix_room_mark"]
        self.assertIn(("failed", "Matrix-Raum nicht nutzbar"), mark["selection"])


@tagged("post_install", "-at_install")
class TestCaseTranslation(TranslationChecks, TransactionCase):
    """It is here because legal_case knows nothing of the addon with the checks."""

    addon = "legal_case"
