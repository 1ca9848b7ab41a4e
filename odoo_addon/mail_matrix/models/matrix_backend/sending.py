from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ...tools.matrix_client import MatrixClient
from ...tools.matrix_error import MatrixError
from .connection import notification

_MANAGER = "mail_matrix.group_matrix_manager"
# The first contract whose workers send through the application service.
_CONTRACT = 13


class MatrixBackend(models.Model):
    """Sends through the application service, which the homeserver does not limit.

    Requests then have the token of the registration file, and each one names the
    account and a device: the homeserver remembers transaction ids for a device only.
    The account's own token stays in ``token_sealed``, where workers of earlier releases
    read it.
    """

    _inherit = "matrix.backend"

    # Read by the worker.
    appservice_user_id = fields.Char(readonly=True, copy=False, groups=fields.NO_ACCESS)
    appservice_device_id = fields.Char(
        readonly=True, copy=False, groups=fields.NO_ACCESS
    )
    sends_as_appservice = fields.Boolean(
        string="Sends Through the Application Service",
        compute="_compute_sends_as_appservice",
        groups=_MANAGER,
    )

    @api.depends("appservice_user_id")
    def _compute_sends_as_appservice(self):
        for backend in self:
            backend.sends_as_appservice = bool(backend.sudo().appservice_user_id)

    @api.constrains("encryption_mode", "appservice_user_id")
    def _check_not_both(self):
        for backend in self.sudo():
            if backend.appservice_user_id and backend._encrypts():
                raise ValidationError(
                    self.env._(
                        "“%(backend)s” cannot encrypt and send through the application "
                        "service: the keys belong to the device of its access token. "
                        "Choose one of the two.",
                        backend=backend.name,
                    )
                )

    def action_send_as_appservice(self):
        """Send through the application service, if the homeserver has its file."""
        self.ensure_one()
        self.check_access("write")
        account = self._client().whoami()["user_id"]
        self._check_registered(account)
        self._check_workers()
        token, device = self._appservice_token(), self._appservice_device()
        self._check_appservice(token, account, device)
        # With all rights: no user has access to these columns.
        self.sudo().write(
            {
                "appservice_token_sealed": self._seal(token),
                "appservice_user_id": account,
                "appservice_device_id": device,
            }
        )
        self._test_and_note()
        return notification(
            "success",
            self.env._("Sending through the application service"),
            self.env._("The homeserver no longer limits how fast Odoo sends."),
        )

    def action_send_with_own_token(self):
        """Send with the account's access token again."""
        self.ensure_one()
        self.check_access("write")
        self._end_sending_as_appservice()

    def _end_sending_as_appservice(self):
        # With all rights: no user has access to these columns.
        acting = self.sudo().filtered("appservice_user_id")
        if acting:
            acting.write({"appservice_user_id": False, "appservice_device_id": False})

    def _check_workers(self):
        """Raise UserError while a worker runs that would keep sending with the access
        token: on another device, of which the homeserver remembers nothing."""
        workers = self.env["matrix.worker"]._running()
        early = workers.filtered(lambda worker: worker._contract() < _CONTRACT)
        if early:
            raise UserError(
                self.env._(
                    "Upgrade or stop these workers, then try again: %(workers)s. They "
                    "are from an earlier release, which would keep sending with the "
                    "access token, and a message that is interrupted meanwhile could "
                    "arrive twice. A worker that was killed counts as running for two "
                    "minutes.",
                    workers=", ".join(early.mapped("name")),
                )
            )

    def _check_appservice(self, token, account, device):
        """Raise UserError unless the homeserver accepts this token for ``account``, on
        ``device``, which is created."""
        values = (self.env, self.homeserver_url, token, self.verify_ssl)
        client = MatrixClient(*values, user_id=account)
        try:
            client.whoami()
        except MatrixError as error:
            if error.status not in (401, 403):
                raise
            raise UserError(
                self.env._(
                    "%(host)s does not know the present registration file. Its "
                    "administrator loads the file and restarts the homeserver; then "
                    "try again. %(reason)s",
                    host=client.host,
                    reason=error,
                )
            ) from None
        client.make_device(account, device, self._device_name())
        found = MatrixClient(*values, user_id=account, device_id=device).whoami()
        if (found["user_id"], found.get("device_id")) != (account, device):
            raise UserError(
                self.env._(
                    "%(host)s does not give an application service a device. It would "
                    "forget what was sent when it restarts, and messages could arrive "
                    "twice. Messages are still sent with the access token.",
                    host=client.host,
                )
            )

    def _appservice_device(self):
        return f"ODOO-{self._appservice_suffix()}"

    def _acting(self):
        # With all rights: not only managers use the account.
        acting = self.sudo()
        if not acting.appservice_user_id:
            return super()._acting()
        return {
            "token": acting._appservice_token(),
            "user_id": acting.appservice_user_id,
            "device_id": acting.appservice_device_id,
        }

    def _store_sealed(self, sealed):
        """Store another token, which may be another account's."""
        self._end_sending_as_appservice()
        return super()._store_sealed(sealed)

    def _renew_inbound_secret(self):
        """The homeserver does not have the registration file of the new secret yet."""
        self._end_sending_as_appservice()
        return super()._renew_inbound_secret()
