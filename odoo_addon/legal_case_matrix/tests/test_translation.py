from odoo.tests import TransactionCase, tagged

from odoo.addons.mail_matrix.tests.translations import TranslationChecks


@tagged("post_install", "-at_install")
class TestTranslation(TranslationChecks, TransactionCase):
    addon = "legal_case_matrix"


@tagged("post_install", "-at_install")
class TestCaseTranslation(TranslationChecks, TransactionCase):
    """It is here because legal_case knows nothing of the addon with the checks."""

    addon = "legal_case"
