import contextlib
import ipaddress
from urllib.parse import urlsplit

from odoo import models
from odoo.exceptions import UserError

from ...tools.matrix_client import MatrixClient
from ...tools.matrix_error import ExplainedError, MatrixError


class _NoHomeserver(ExplainedError):
    """No homeserver answers at this address; it may be at another one."""


class MatrixBackend(models.Model):
    """Requests to the homeserver that a person waits for."""

    _inherit = "matrix.backend"

    def _client(self, **timeouts):
        """Return the client of this account. Raises UserError without a token.

        :param timeouts: those of MatrixClient, to override its defaults
        """
        self.ensure_one()
        how = {"verify_ssl": self.verify_ssl, **self._acting(), **timeouts}
        return MatrixClient(self.env, self.homeserver_url, **how)

    def _acting(self):
        """Return what requests show: the token, as a parameter of MatrixClient."""
        return {"token": self._token()}

    def action_test_connection(self):
        """Test the account; the form then shows the result, and what to fix."""
        self.ensure_one()
        self.check_access("write")
        try:
            found = self._test_and_note()
        except _NoHomeserver as error:
            if url := self._find_address():
                return self._offer_address(url)
            return self._connection_failed(error)
        except UserError as error:
            return self._connection_failed(error)
        return notification(
            "success",
            self.env._("Connected to Matrix"),
            self.env._("Account: %(user)s", user=found["account"]),
        )

    def _test_and_note(self):
        """Write what the test finds on the backend, and return it.

        Raises UserError with the reason, which is written too, if the account cannot
        be used.
        """
        try:
            found, warnings = self._test_connection()
        except UserError as error:
            self._write_test(result="failed", problem=str(error))
            raise
        self._write_test(
            result="warning" if warnings else "ok",
            warnings="\n".join(f"• {warning}" for warning in warnings),
            **found,
        )
        return found

    def _connection_failed(self, error):
        return notification("danger", self.env._("Connection failed"), str(error))

    def _offer_address(self, url):
        values = {
            "backend_id": self.id,
            "entered": self.homeserver_url,
            "url": url,
            "needs_token": self._reveals_token(url, self.verify_ssl),
        }
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Homeserver found at another address"),
            "res_model": "matrix.address",
            "res_id": self.env["matrix.address"].create(values).id,
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "new",
        }

    def _test_connection(self):
        """Return what was found, as values for _write_test, and a list of warnings.

        Raises UserError with the reason if the account cannot be used.
        """
        # Without the token first: only a homeserver may see it.
        try:
            versions = MatrixClient(
                self.env, self.homeserver_url, verify_ssl=self.verify_ssl
            ).versions()
        except MatrixError as error:
            raise _NoHomeserver(str(error)) from None
        client = self._client()
        whoami = client.whoami()
        account, device = whoami["user_id"], whoami.get("device_id")
        server = None
        # From the federation API, which may be at another address.
        with contextlib.suppress(MatrixError):
            server = client.server_version()
        found = {
            "account": account,
            "device": device,
            "server": server,
            "specification": versions[-1],
        }
        warnings = [
            self._warning_about_device(device),
            self._warning_about_encryption(),
            self._warning_about_keys(client, account, device),
            self._align_displayname(client, account),
        ]
        return found, [warning for warning in warnings if warning]

    def _warning_about_device(self, device_id):
        if device_id:
            return None
        return self.env._(
            "This token does not belong to a device, so the homeserver remembers "
            "sent messages for less than an hour: a message repeated after a crash"
            " could arrive twice. Use a token that comes from a login (Element: "
            "Settings → Help & About → Access Token)."
        )

    def _warning_about_encryption(self):
        parts = urlsplit(self.homeserver_url)
        if parts.scheme == "https" and not self.verify_ssl:
            return self.env._(
                "The certificate of the homeserver is not verified: someone in "
                "between could read the token and the messages."
            )
        if parts.scheme == "http" and not _is_this_machine(parts.hostname):
            return self.env._(
                "The address begins with http://, and %(host)s is another machine: "
                "token and messages travel unencrypted. Use https://.",
                host=parts.hostname,
            )
        return None

    def _align_displayname(self, client, user_id):
        """Give the account the sender name; return why that was not possible, if so."""
        name = self.default_sender_display
        try:
            if name and client.displayname(user_id) != name:
                client.set_displayname(user_id, name)
        except MatrixError as error:
            return self.env._(
                "The sender name could not be set: %(reason)s", reason=error
            )
        return None


def notification(kind, title, text, following=None):
    """Return the action that shows ``text`` for a moment.

    The form then reloads its record, which holds the result, unless another action is
    ``following``.
    """
    return {
        "type": "ir.actions.client",
        "tag": "display_notification",
        "params": {
            "type": kind,
            "title": title,
            "message": text,
            "next": following or {"type": "ir.actions.act_window_close"},
        },
    }


def _is_this_machine(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
