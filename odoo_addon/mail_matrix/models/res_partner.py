from odoo import fields, models


class ResPartner(models.Model):
    """An Odoo contact, to whom people can write in Matrix."""

    _inherit = "res.partner"

    matrix_contact_ids = fields.One2many(
        "matrix.contact",
        "partner_id",
        string="Matrix Contacts",
        groups="mail_matrix.group_matrix_user",
    )

    def action_start_matrix_dm(self):
        """Open the composer, or the list if there are several accounts."""
        self.ensure_one()
        contacts = self.env["matrix.contact"]
        contacts._matrix_check_user()
        found = contacts.search([("partner_id", "=", self.id)])
        if len(found) == 1:
            return found.action_start_dm()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_matrix.matrix_contact_action"
        )
        return {**action, "domain": [("partner_id", "=", self.id)]}
