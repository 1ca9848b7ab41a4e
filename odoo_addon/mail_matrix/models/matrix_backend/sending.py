import secrets

from odoo import api, fields, models
from odoo.exceptions import UserError

from ...tools.matrix_client import MatrixClient
from ...tools.matrix_error import MatrixError
from .connection import notification

_MANAGER = "mail_matrix.group_matrix_manager"
# The first contracts whose workers send through the application service, and whose
# workers encrypt on its device.
_SENDS = 13
_ENCRYPTS = 14


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

    def action_send_as_appservice(self):
        """Send through the application service, if the homeserver has its file."""
        self.ensure_one()
        self.check_access("write")
        account = self._client().whoami()["user_id"]
        self._check_registered(account)
        self._check_workers()
        encrypts = self._encrypts()
        if encrypts:
            self._check_can_encrypt()
            self._check_workers_encrypt_there()
            self._check_signs_another_device(account)
        client, device = self._make_acting_device(account, is_new=encrypts)
        with self._removing_unused(client if encrypts else None):
            sealed = self._seal(self._appservice_token())
            # With all rights: no user has access to these columns.
            self.sudo().write({**device, "appservice_token_sealed": sealed})
            if encrypts:
                self._request_encryption()
            self._test_and_note()
        return notification(
            "success",
            self.env._("Sending through the application service"),
            self.env._("The homeserver no longer limits how fast Odoo sends."),
        )

    def action_send_with_own_token(self):
        """Send with the account's access token again.

        Where messages are encrypted, the keys are on the other device: it takes a new
        one.
        """
        self.ensure_one()
        self.check_access("write")
        if self._encrypts():
            return self._encryption_dialog("new_device", as_appservice=False)
        return self._end_sending_as_appservice()

    def _end_sending_as_appservice(self):
        # With all rights: no user has access to these columns.
        acting = self.sudo().filtered("appservice_user_id")
        if acting:
            acting.write({"appservice_user_id": False, "appservice_device_id": False})

    def _check_workers(self):
        """Raise UserError while a worker runs that would keep sending with the access
        token: on another device, of which the homeserver remembers nothing."""
        early = self._workers_before(_SENDS)
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

    def _check_workers_encrypt_there(self):
        """Raise UserError while a worker runs that would look for the keys on the
        device of the access token, and would pass on nothing that is encrypted where
        the homeserver sends the messages from rooms."""
        early = self._workers_before(_ENCRYPTS)
        if early:
            raise UserError(
                self.env._(
                    "Upgrade or stop these workers, then try again: %(workers)s. They "
                    "are from an earlier release, which cannot encrypt where the "
                    "application service is used. A worker that was killed counts as "
                    "running for two minutes.",
                    workers=", ".join(early.mapped("name")),
                )
            )

    def _check_is_sent_as_appservice(self):
        """Raise UserError unless messages are sent through the application service."""
        if not self.sudo().appservice_user_id:
            raise UserError(
                self.env._(
                    "Messages are no longer sent through the application service. "
                    "Reload the page."
                )
            )

    def _all_workers_encrypt_there(self):
        """Whether no worker runs that _check_workers_encrypt_there names."""
        return not self._workers_before(_ENCRYPTS)

    @api.model
    def _workers_before(self, contract):
        """Return the running workers that do not know this contract."""
        workers = self.env["matrix.worker"]._running()
        return workers.filtered(lambda worker: worker._contract() < contract)

    def _make_acting_device(self, account, is_new):
        """Make a device of ``account``, as the application service; return a client on
        it, and what stores it on the backend.

        :param is_new: a device that was never used, and so has no keys
        Raises UserError if the homeserver does not let us use one.
        """
        client = self._acting_client(account)
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
        device = self._appservice_device(is_new)
        client.make_device(account, device, self._device_name())
        acting = self._acting_client(account, device)
        found = acting.whoami()
        if (found["user_id"], found.get("device_id")) != (account, device):
            raise UserError(
                self.env._(
                    "%(host)s does not give an application service a device. It would "
                    "forget what was sent when it restarts, and messages could arrive "
                    "twice. Messages are still sent with the access token.",
                    host=client.host,
                )
            )
        return acting, {"appservice_user_id": account, "appservice_device_id": device}

    def _acting_client(self, account, device=None):
        return MatrixClient(
            self.env,
            self.homeserver_url,
            self._appservice_token(),
            self.verify_ssl,
            user_id=account,
            device_id=device,
        )

    def _appservice_device(self, is_new=False):
        suffix = self._appservice_suffix()
        return f"ODOO-{suffix}-{secrets.token_hex(4)}" if is_new else f"ODOO-{suffix}"

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
