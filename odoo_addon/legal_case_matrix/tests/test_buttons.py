from pathlib import Path

from lxml import etree

from odoo.tests import tagged
from odoo.tools.misc import file_path

from odoo.addons.mail_matrix.tests.common import MatrixCase

MODULES = ("mail_matrix", "legal_case", "legal_case_matrix")
LABELS = ("string", "aria-label", "t-att-aria-label", "t-esc", "t-out")
TOOLTIPS = ("title", "t-att-title")


def has(element, names):
    return any(element.get(name) for name in names)


def is_labelled(button):
    parts = list(button.iter(etree.Element))
    if any(has(part, LABELS) for part in parts):
        return True
    # A statistic says what it counts by the label of its field.
    return bool("".join(button.itertext()).strip() or button.findall(".//field"))


@tagged("post_install", "-at_install")
class TestButtons(MatrixCase):
    """Every button says what it is called and, to who asks, what it does."""

    def check(self, place, root):
        for button in root.iter("button"):
            name = f"{place}: {etree.tostring(button).decode()[:200]}"
            self.assertTrue(is_labelled(button), f"No label in {name}")
            self.assertTrue(has(button, TOOLTIPS), f"No tooltip in {name}")

    def test_buttons_of_views(self):
        data = self.env["ir.model.data"].search(
            [("module", "in", MODULES), ("model", "=", "ir.ui.view")]
        )
        views = self.env["ir.ui.view"].browse(data.mapped("res_id"))
        self.assertIn(self.env.ref("mail_matrix.matrix_log_view_list"), views)

        for view in views:
            self.check(view.xml_id, etree.fromstring(view.arch))

    def templates(self):
        folders = [Path(file_path(module)) for module in MODULES]
        files = [
            file
            for folder in folders
            for file in (folder / "static/src").glob("**/*.xml")
        ]
        self.assertTrue(files)
        return [(file.name, etree.parse(file).getroot()) for file in files]

    def test_buttons_of_templates(self):
        for name, root in self.templates():
            self.check(name, root)

    def test_no_template_has_a_label_that_odoo_does_not_translate(self):
        for name, root in self.templates():
            for element in root.iter(etree.Element):
                self.assertNotIn("aria-label", element.attrib, name)
