import contextlib
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from ...tools import token as tokens
from ...tools.matrix_client import MatrixClient
from ...tools.matrix_error import ExplainedError, MatrixError

# The worker does not carry out older requests.
REQUEST_VALID = timedelta(minutes=15)


class SigningKeysExist(ExplainedError):
    """The account has signing keys, and only their owner can sign a device with
    them."""


class MatrixBackend(models.Model):
    """Set up encryption: the worker is asked to make a device's keys and to sign them.

    A password or a recovery key is used once. The worker may have to use it: until
    then, for seconds, it waits in the database, sealed with the key of the access
    token. If no worker takes it in time, it is deleted.
    """

    _inherit = "matrix.backend"

    def action_set_up_encryption(self):
        """Open the dialog that gives this account's device keys."""
        return self._encryption_dialog("new_device")

    def action_verify_device(self):
        """Open the dialog that signs the device that there is."""
        return self._encryption_dialog("sign")

    def _encryption_dialog(self, purpose, as_appservice=True):
        """Return the action of the dialog.

        :param as_appservice: offer the application service, if messages are sent so
        """
        self.ensure_one()
        self.check_access("write")
        params = {
            "backendId": self.id,
            "purpose": purpose,
            "account": self.test_account or self.account or "",
            "asAppservice": as_appservice and self.sends_as_appservice,
        }
        return {
            "type": "ir.actions.client",
            "tag": "mail_matrix.encryption",
            "params": params,
        }

    def action_turn_off_encryption(self):
        """Refuse encrypted rooms again. The device and its keys stay."""
        self.ensure_one()
        self.check_access("write")
        self._withdraw_encryption_request()
        self.write({"encryption_mode": "refuse"})

    def _set_up_encryption(
        self,
        purpose,
        user=None,
        password=None,
        token=None,
        recovery_key=None,
        replace=False,
        as_appservice=False,
    ):
        """Ask the worker to give a device keys, or to sign the one that has them.

        :param purpose: ``new_device`` or ``sign``. A new device is one of the
            application service, else that of a login with ``user`` and ``password``,
            else that of ``token``, else that of the stored token.
        :param recovery_key: signs with the signing keys that the account has
        :param replace: replace these, for which only the application service needs no
            ``password``
        :param as_appservice: whether messages are sent through the application service,
            now and afterwards
        Raises UserError, before anything is stored, if that cannot be done:
        SigningKeysExist if the account has signing keys that nothing given here opens.
        """
        self.ensure_one()
        self.check_access("write")
        self._check_can_encrypt()
        if as_appservice:
            self._check_is_sent_as_appservice()
        if as_appservice or self.inbound_mode == "appservice":
            self._check_workers_encrypt_there()
        password, recovery_key = password or "", (recovery_key or "").strip()
        if replace and not (password or as_appservice):
            raise UserError(
                self.env._("Enter the password: the homeserver asks for it.")
            )
        if purpose == "sign" and not (recovery_key or replace):
            raise UserError(self.env._("Enter the recovery key."))
        is_signed = bool(recovery_key or replace)
        is_made = purpose == "new_device" and bool(as_appservice or user)
        if is_made and not is_signed:
            self._check_stored_account()
        if purpose == "sign":
            client, device = self._client(), {}
        elif as_appservice:
            account = self.sudo().appservice_user_id
            client, device = self._make_acting_device(account, is_new=True)
        else:
            client, device = self._token_device(user, password, token)
        with self._removing_unused(client if is_made else None):
            values = self._encryption_vals(client, is_signed)
            # With all rights: no user has access to the columns of the device. Write
            # access was checked.
            self.sudo().write({**device, **values})
            self._request_encryption(password, recovery_key, replace)

    @contextlib.contextmanager
    def _removing_unused(self, client):
        """Remove the new device of ``client``, if there is one, where the code within
        fails: nobody else uses it, and it would stay for ever."""
        try:
            yield
        except Exception:
            if client:
                with contextlib.suppress(MatrixError):
                    client.logout()
            raise

    def _token_device(self, user, password, token):
        """Return a client on the device of a token, and what stores that device."""
        if user:
            client = MatrixClient(
                self.env, self.homeserver_url, verify_ssl=self.verify_ssl
            )
            token = self._log_in(client, user, password)
        if token:
            return self._client_of(token), {"personal_access_token": token}
        ended = {"appservice_user_id": False, "appservice_device_id": False}
        return self._client_of(self._token()), ended

    def _encryption_vals(self, client, is_signed):
        """Return how the backend encrypts. Raises UserError if the account of
        ``client`` cannot be used.

        :param is_signed: what signs the device was given
        """
        account = client.whoami()["user_id"]
        if not is_signed:
            self._check_can_sign(client, account)
        vals = {"encryption_mode": "encrypt"}
        if not self._encrypts():
            vals["encrypt_new_rooms"] = self._clients_encrypt_new_rooms(account)
        return vals

    def _client_of(self, token):
        return MatrixClient(self.env, self.homeserver_url, token, self.verify_ssl)

    def _check_can_encrypt(self):
        if not self.env["matrix.worker"]._can_encrypt():
            raise UserError(self._no_encrypting_worker())
        without = self._without_encryption()
        # While encryption is on, a device that lost its keys may be replaced.
        if without and not self._encrypts():
            raise UserError(
                self.env._(
                    "Upgrade or stop these workers, then try again: %(workers)s. They "
                    "were built without encryption, and messages for encrypted rooms "
                    "that they get would fail. A worker that was killed counts as "
                    "running for two minutes.",
                    workers=", ".join(without.mapped("name")),
                )
            )
        if not tokens.has_key():
            raise UserError(
                self.env._(
                    "Set %(option)s in odoo.conf first, and give the worker the same "
                    "key: the device's keys are stored encrypted with it.",
                    option=tokens.KEY_OPTION,
                )
            )

    def _check_stored_account(self):
        """Like _check_can_sign, before a device is made: homeservers allow only a few
        logins."""
        try:
            client = self._client()
            self._check_can_sign(client, client.whoami()["user_id"])
        except SigningKeysExist:
            raise
        except UserError:
            # Another device may be what makes the account usable again.
            return

    def _check_can_sign(self, client, account):
        """Raise SigningKeysExist if the account has signing keys that the worker does
        not have."""
        row = self._read_encryption().get(self.id, {})
        is_ours = row.get("signature") == "signed" and row["matrix_user_id"] == account
        if not is_ours and client.has_signing_keys(account):
            raise SigningKeysExist(
                self.env._(
                    "%(account)s has been used with encryption before: it has signing "
                    "keys. Enter its recovery key (in Element: Secure Backup), or let "
                    "Odoo replace the signing keys.",
                    account=account,
                )
            )

    def _check_signs_another_device(self, account):
        """Like _check_can_sign, where no recovery key can be entered."""
        try:
            self._check_can_sign(self._client(), account)
        except SigningKeysExist:
            buttons = {
                "unsigned": self.env._("Verify Device"),
                "failed": self.env._("Set Up Again"),
            }
            button = buttons.get(self.encryption_state, self.env._("New Device"))
            raise UserError(
                self.env._(
                    "The worker does not have the signing keys of %(account)s, so it "
                    "could not sign another device. Click “%(button)s” on the page "
                    "Encryption first.",
                    account=account,
                    button=button,
                )
            ) from None

    def _request_encryption(self, password="", recovery_key="", replace=False):
        """Write the request that the worker takes, and deletes before it uses it."""
        self.flush_recordset()
        secret = recovery_key or password
        kind = "password" if password else "new_device"
        if recovery_key:
            kind = "recovery_key"
        elif replace:
            kind = "reset"
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_crypto_request
                    (backend_id, kind, secret_sealed, user_id)
                VALUES (%s, %s, %s, %s)
                ON CONFLICT (backend_id) DO UPDATE
                SET kind = excluded.kind, secret_sealed = excluded.secret_sealed,
                    user_id = excluded.user_id, requested_at = excluded.requested_at
                """,
                self.id,
                kind,
                tokens.seal(secret) if secret else None,
                self.env.uid,
            )
        )
        # A worker notices each change of this time, so it must not be one in whole
        # seconds, as the ORM writes it.
        self.env.cr.execute(
            SQL(
                """
                UPDATE matrix_backend
                SET encryption_asked_at = clock_timestamp() AT TIME ZONE 'UTC'
                WHERE id = %s
                """,
                self.id,
            )
        )
        self.invalidate_recordset()
        # The vacuum comes once a day only.
        vacuum = self.env.ref("base.autovacuum_job").sudo()
        vacuum._trigger(fields.Datetime.now() + REQUEST_VALID + timedelta(minutes=1))

    def _withdraw_encryption_request(self):
        self.env.cr.execute(
            SQL("DELETE FROM matrix_crypto_request WHERE backend_id = %s", self.id)
        )

    @api.autovacuum
    def _gc_encryption_requests(self):
        """Delete requests that no worker will carry out, with their secrets."""
        self.env.cr.execute(
            SQL(
                "DELETE FROM matrix_crypto_request "
                "WHERE requested_at < now() AT TIME ZONE 'UTC' - %s",
                REQUEST_VALID,
            )
        )
