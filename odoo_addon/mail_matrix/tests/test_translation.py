from odoo.exceptions import ValidationError
from odoo.tests import tagged

from .common import MatrixCase
from .translations import TranslationChecks


@tagged("post_install", "-at_install")
class TestTranslation(TranslationChecks, MatrixCase):
    addon = "mail_matrix"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.lang"]._activate_lang("de_DE")
        cls.env["ir.module.module"]._load_module_terms(
            ["mail_matrix"], ["de_DE"], overwrite=True
        )
        cls.in_german = cls.backend.with_context(lang="de_DE")

    def test_a_screen_in_german_has_german_words(self):
        fields = self.in_german.fields_get(["homeserver_url", "verify_ssl"])
        view = self.in_german.get_view(view_type="form")["arch"]

        self.assertEqual(fields["homeserver_url"]["string"], "URL des Homeservers")
        self.assertEqual(fields["verify_ssl"]["string"], "TLS-Zertifikat prüfen")
        self.assertIn("Verbindung testen", view)

    def test_a_german_reads_a_german_error(self):
        with self.assertRaisesRegex(
            ValidationError, "„ftp://matrix“ ist keine gültige Adresse"
        ):
            self.in_german.homeserver_url = "ftp://matrix"
