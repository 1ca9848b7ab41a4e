import contextlib
from urllib.parse import urlsplit

from odoo import api, models
from odoo.exceptions import UserError

from ...tools.matrix_client import PASSWORD_LOGIN, MatrixClient
from ...tools.matrix_error import ExplainedError, MatrixError


class OtherAddress(ExplainedError):
    """No homeserver answers at the address, but one does at ``url``."""

    def __init__(self, message, url):
        super().__init__(message)
        self.url = url


class MatrixBackend(models.Model):
    """Connect an account: by its password, which is used once, or by a token."""

    _inherit = "matrix.backend"

    def action_log_in(self):
        """Open the dialog that connects this backend's account."""
        self.ensure_one()
        self.check_access("write")
        return self._connect_dialog()

    def _connect_dialog(self):
        """Return the action of the dialog, for this backend or for a new one."""
        params = {
            "backendId": self.id,
            "url": self.homeserver_url or "",
            "verify": self.verify_ssl or not self,
        }
        return {
            "type": "ir.actions.client",
            "tag": "mail_matrix.connect",
            "params": params,
        }

    def _connect(self, url, verify_ssl, user=None, password=None, token=None):
        """Store an address and a token, and test them; return the backend.

        For an empty recordset a new backend is created. With ``user`` and ``password``
        the token is that of a new device. Raises UserError, before anything is stored,
        if no token can be got.
        """
        is_login = not token
        self.check_access("write" if self else "create")
        url = self._tidy({"homeserver_url": url})["homeserver_url"]
        problem = self._homeserver_url_problem(url)
        if problem:
            raise UserError(problem)
        client = MatrixClient(self.env, url, verify_ssl=verify_ssl)
        self._check_is_homeserver(client)
        if is_login:
            token = self._log_in(client, user, password)
        try:
            backend = self._store_connection(url, verify_ssl, token)
        except Exception:
            if is_login:
                # Nobody else has this token: its device would stay for ever.
                device = MatrixClient(self.env, url, token, verify_ssl)
                with contextlib.suppress(MatrixError):
                    device.logout()
            raise
        # The backend's form shows what is wrong with the account.
        with contextlib.suppress(UserError):
            backend._test_and_note()
        return backend

    def _store_connection(self, url, verify_ssl, token):
        vals = {
            "homeserver_url": url,
            "verify_ssl": verify_ssl,
            "personal_access_token": token,
        }
        if self:
            self.write(vals)
            return self
        return self.create({**vals, "name": urlsplit(url).hostname})

    @api.model
    def _check_is_homeserver(self, client):
        """Raise UserError if no homeserver answers: it must not get the password."""
        try:
            client.versions()
        except MatrixError:
            entered = self.new(
                {"homeserver_url": client.url, "verify_ssl": client.verify_ssl}
            )
            found = entered._find_address()
            if not found:
                raise
            raise OtherAddress(
                self.env._(
                    "There is no homeserver at %(entered)s, but one was found at "
                    "%(found)s. If this is yours, click Connect again.",
                    entered=client.url,
                    found=found,
                ),
                found,
            ) from None

    @api.model
    def _log_in(self, client, user, password):
        """Return a token of a new device. Raises UserError."""
        user = (user or "").strip()
        if not user or not password:
            raise UserError(
                self.env._("Enter the user name and the password of the account.")
            )
        if PASSWORD_LOGIN not in client.login_types():
            raise UserError(
                self.env._(
                    "%(host)s offers no login with a password, but for example single "
                    "sign-on. Choose “Access token” and paste one. Where Matrix "
                    "Authentication Service runs, its administrator makes one with: "
                    "mas-cli manage issue-compatibility-token NAME",
                    host=client.host,
                )
            )
        try:
            return client.login(user, password, self._device_name())
        except MatrixError as error:
            if error.errcode != "M_FORBIDDEN":
                raise
            raise UserError(
                self.env._(
                    "%(host)s does not accept this user name and password. Check "
                    "both; the user name is the part between “@” and “:” of the "
                    "Matrix ID.",
                    host=client.host,
                )
            ) from None

    @api.model
    def _device_name(self):
        """Return how the account's list of sessions shows this database."""
        return f"Odoo ({self.env.cr.dbname})"
