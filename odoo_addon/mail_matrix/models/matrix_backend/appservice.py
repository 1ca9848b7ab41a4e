import hashlib
import hmac
import json
import re
import secrets

from odoo import api, fields, models
from odoo.exceptions import UserError

from ...tools import token as tokens


class MatrixBackend(models.Model):
    """The registration file, which makes a homeserver send events to Odoo."""

    _inherit = "matrix.backend"

    # The file's as_token. Read by the worker if messages are sent with it.
    appservice_token_sealed = fields.Char(
        readonly=True, copy=False, groups=fields.NO_ACCESS
    )

    @api.onchange("homeserver_url", "verify_ssl")
    def _onchange_registered_homeserver(self):
        stored = self._origin
        if stored.inbound_mode != "appservice" or not (
            stored._reveals_token(self.homeserver_url, self.verify_ssl)
        ):
            return None
        return {
            "warning": {
                "type": "notification",
                "title": self.env._("A new registration file is needed"),
                "message": self.env._(
                    "Another server could read the secrets of the current server, so "
                    "they are replaced when you save. Then click “Download "
                    "Registration File”, and give the file to the homeserver's "
                    "administrator."
                ),
            }
        }

    def write(self, vals):
        elsewhere = self._revealing(vals)
        result = super().write(vals)
        elsewhere._leave_registered_homeserver()
        return result

    def _leave_registered_homeserver(self):
        """Make new secrets: another server must neither see the old ones nor be taken
        for the one that had them."""
        # With all rights: nobody may write what was found. Write access was checked.
        registered = self.sudo().filtered(
            lambda backend: backend.inbound_mode == "appservice"
        )
        registered.inbound_account = False
        registered._renew_inbound_secret()

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
        self._check_registered(self.inbound_account)
        names = f"odoo-{self._appservice_suffix()}"
        account = "^" + re.escape(self.inbound_account) + "$"
        # Strings of JSON are strings of YAML.
        return (
            "# Tells the homeserver to send Odoo what is said in rooms of the account "
            f"{self.inbound_account}.\n"
            "# Anyone who has this file can act as this account: keep it private.\n"
            f"id: {json.dumps(names)}\n"
            f"url: {json.dumps(self.inbound_url)}\n"
            f"as_token: {json.dumps(self._appservice_token())}\n"
            f"hs_token: {json.dumps(self._inbound_secret())}\n"
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

    def _check_registered(self, account):
        """Raise UserError unless there is a registration file for ``account``."""
        if self.inbound_mode != "appservice" or not self._inbound_secret():
            raise UserError(
                self.env._(
                    "Choose that the homeserver sends messages to Odoo, save, and "
                    "click “Download Registration File” on the backend."
                )
            )
        if not account or account != self.inbound_account:
            raise UserError(
                self.env._(
                    "Click “Download Registration File” first, and give the file to "
                    "the homeserver's administrator."
                )
            )

    def _appservice_suffix(self):
        """Return what distinguishes this backend from those of other databases."""
        parameters = self.env["ir.config_parameter"].sudo()
        database = parameters.get_param("database.uuid", "")
        return f"{database[:8]}-{self.id}"

    def _renew_inbound_secret(self):
        """Make both tokens of the file anew: the homeserver shows one to Odoo, and with
        the other one Odoo acts as the account."""
        result = super()._renew_inbound_secret()
        # With all rights: no user has access to this column.
        for backend in self.sudo():
            is_on = backend.inbound_mode == "appservice"
            token = is_on and self._seal(secrets.token_urlsafe(32))
            backend.appservice_token_sealed = token
        return result

    def _appservice_token(self):
        """Return the ``as_token``, with which messages are sent if that is chosen.

        Raises UserError if no key opens it.
        """
        sealed = self.sudo().appservice_token_sealed
        if not sealed:
            # The file was made before this token had a column.
            secret = self._inbound_secret().encode()
            return hmac.new(secret, b"as_token", hashlib.sha256).hexdigest()
        try:
            return tokens.unseal(sealed)
        except ValueError:
            raise UserError(
                self.env._(
                    "No configured key opens the token in the registration file of "
                    "“%(backend)s”. Restore the key in odoo.conf (%(option)s), or "
                    "click “Make New Secrets” on the backend.",
                    backend=self.name,
                    option=tokens.KEY_OPTION,
                )
            ) from None

    @api.model
    def _rotate_token_key(self):
        count = super()._rotate_token_key()
        for backend in self.sudo().search([("appservice_token_sealed", "!=", False)]):
            backend.appservice_token_sealed = self._seal(backend._appservice_token())
        return count
