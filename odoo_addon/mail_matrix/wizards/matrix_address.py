from odoo import fields, models

from ..models.matrix_backend.connection import notification


class MatrixAddress(models.TransientModel):
    """Asks before another address, found by Test Connection, is used."""

    _name = "matrix.address"
    _description = "Other Address of a Homeserver"

    backend_id = fields.Many2one("matrix.backend", required=True, readonly=True)
    entered = fields.Char(readonly=True)
    url = fields.Char(string="Found", required=True, readonly=True)
    needs_token = fields.Boolean(string="Enter the access token again", readonly=True)

    def action_use(self):
        """Enter the address that was found, and test it if the token may be kept."""
        self.ensure_one()
        self.backend_id.homeserver_url = self.url
        if self.needs_token:
            return notification(
                "warning",
                self.env._("Enter the access token again"),
                self.env._(
                    "The address was changed. The stored token was for the old one."
                ),
            )
        return self.backend_id.action_test_connection()
