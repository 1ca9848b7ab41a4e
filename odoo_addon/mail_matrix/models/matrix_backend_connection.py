import ipaddress
from urllib.parse import urlsplit

from odoo import models
from odoo.exceptions import UserError

from ..tools.matrix_client import ExplainedError, MatrixClient, MatrixError


class _NoHomeserver(ExplainedError):
    """No homeserver answers at the address; it may be another one's."""


class MatrixBackend(models.Model):
    """What a person asks the homeserver for, and waits for."""

    _inherit = "matrix.backend"

    def _client(self, **timeouts):
        """Return the client of this account. Raises UserError without a token.

        :param timeouts: those of MatrixClient, where others are wanted
        """
        self.ensure_one()
        return MatrixClient(
            self.env, self.homeserver_url, self._token(), self.verify_ssl, **timeouts
        )

    def action_test_connection(self):
        """Show whether the account can be used, and what stands in the way if not."""
        self.ensure_one()
        self.check_access("write")
        try:
            account, found, warnings = self._test_connection()
        except _NoHomeserver as error:
            if url := self._find_address():
                return self._offer_address(url)
            return self._connection_failed(error)
        except UserError as error:
            return self._connection_failed(error)
        following = notification(
            "info",
            self.env._("Good to know"),
            self._hint_about_rate_limits(account),
        )
        for warning in reversed(warnings):
            following = notification(
                "warning", self.env._("Worth your attention"), warning, following
            )
        return notification(
            "success",
            self.env._("✓ Connected to Matrix"),
            " · ".join(found),
            following,
        )

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
        """Return the account's id, what was found and what to warn of, as texts.

        Raises UserError with the reason where the account cannot be used.
        """
        # Without the token first: it is for homeservers only.
        try:
            versions = MatrixClient(
                self.env, self.homeserver_url, verify_ssl=self.verify_ssl
            ).versions()
        except MatrixError as error:
            raise _NoHomeserver(str(error)) from None
        client = self._client()
        account = client.whoami()
        user_id, device_id = account["user_id"], account.get("device_id")
        try:
            server = client.server_version()
        except MatrixError:
            # Told by the federation API, which need not stand at this address.
            server = self.env._("unknown")
        found = [
            self.env._("Account: %(user)s", user=user_id),
            self.env._("Device: %(device)s", device=device_id or "–"),
            self.env._("Server: %(server)s", server=server),
            self.env._("Newest specification: %(version)s", version=versions[-1]),
        ]
        warnings = [
            self._warning_about_device(device_id),
            self._warning_about_encryption(),
            self._align_displayname(client, user_id),
        ]
        return user_id, found, [warning for warning in warnings if warning]

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

    def _hint_about_rate_limits(self, user_id):
        return self.env._(
            "Homeservers slow down each account; Synapse lets through a message in "
            "five seconds after the first ten. Messages wait then, and none is lost. "
            "To exempt the account, an administrator of a Synapse calls POST "
            "/_synapse/admin/v1/users/%(user)s/override_ratelimit with "
            '{"messages_per_second": 0, "burst_count": 0}.',
            user=user_id,
        )


def notification(kind, title, text, following=None):
    """Return the action that shows ``text`` until it is clicked away.

    ``following`` is shown next; at the end the form reads its record again.
    """
    return {
        "type": "ir.actions.client",
        "tag": "display_notification",
        "params": {
            "type": kind,
            "title": title,
            "message": text,
            # There is more to read than fits into the usual four seconds.
            "sticky": True,
            "next": following or {"type": "ir.actions.act_window_close"},
        },
    }


def _is_this_machine(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
