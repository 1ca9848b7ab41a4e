import hashlib
import hmac
import json
import re

from odoo import models
from odoo.exceptions import UserError


class MatrixBackend(models.Model):
    """The registration file, which makes a homeserver send events to Odoo."""

    _inherit = "matrix.backend"

    def action_download_registration(self):
        """Ask the homeserver which account this is, then download the file."""
        self.ensure_one()
        self.check_access("write")
        # With all rights: no user may write this field.
        self.sudo().inbound_account = self._client().whoami()["user_id"]
        return {
            "type": "ir.actions.act_url",
            "url": f"/mail_matrix/appservice/{self.id}/registration",
            "target": "download",
        }

    def _appservice_registration(self):
        """Return the registration file as YAML, for a manager of this backend."""
        self.check_access("write")
        secret = self._inbound_secret()
        if not secret or not self.inbound_account:
            raise UserError(
                self.env._(
                    "Choose that the homeserver sends messages to Odoo, save, and "
                    "click “Download Registration File” on the backend."
                )
            )
        names = f"odoo-{self._appservice_suffix()}"
        account = "^" + re.escape(self.inbound_account) + "$"
        # Strings of JSON are strings of YAML.
        return (
            "# Tells the homeserver to send Odoo what is said in rooms of the account "
            f"{self.inbound_account}.\n"
            "# Anyone who has this file can act as this account: keep it private.\n"
            f"id: {json.dumps(names)}\n"
            f"url: {json.dumps(self.inbound_url)}\n"
            f"as_token: {json.dumps(self._appservice_token(secret))}\n"
            f"hs_token: {json.dumps(secret)}\n"
            f"sender_localpart: {json.dumps(names)}\n"
            "rate_limited: false\n"
            # Lets Odoo create the device as which it sends.
            "io.element.msc4190: true\n"
            "namespaces:\n"
            "  users:\n"
            "    - exclusive: false\n"
            f"      regex: {json.dumps(account)}\n"
            "  rooms: []\n"
            "  aliases: []\n"
        )

    def _appservice_suffix(self):
        """Return what distinguishes this backend from those of other databases."""
        parameters = self.env["ir.config_parameter"].sudo()
        database = parameters.get_param("database.uuid", "")
        return f"{database[:8]}-{self.id}"

    def _appservice_token(self, secret):
        """Return the ``as_token``, with which messages are sent if that is chosen."""
        return hmac.new(secret.encode(), b"as_token", hashlib.sha256).hexdigest()
