import contextlib
from textwrap import wrap

from odoo import api, fields, models
from odoo.tools import SQL

from ...tools import token as tokens
from ...tools import words
from .encryption_setup import REQUEST_VALID

_MANAGER = "mail_matrix.group_matrix_manager"


class MatrixBackend(models.Model):
    """Whether messages for encrypted rooms are encrypted, and the device that does it.

    The worker has the device's keys, and writes their state; Odoo shows it.
    """

    _inherit = "matrix.backend"

    encryption_mode = fields.Selection(
        words.ENCRYPTION_MODES,
        string="Encrypted Rooms",
        default="refuse",
        readonly=True,
        copy=False,
        groups=_MANAGER,
    )
    encryption_devices = fields.Selection(
        words.ENCRYPTION_DEVICES,
        string="Who Can Read",
        default="all",
        copy=False,
        groups=_MANAGER,
        help="The homeserver says which devices a person has. With “verified”, a "
        "device that the homeserver or a thief has added to a person's account cannot "
        "read the messages; but people who have not set up verification in their "
        "Matrix client cannot read them either.",
    )
    encrypt_new_rooms = fields.Boolean(
        copy=False,
        groups=_MANAGER,
        help="Rooms that Odoo creates for records, and for direct messages, are "
        "encrypted from the start. Encryption of a room cannot be turned off again.",
    )
    encryption_asked_at = fields.Datetime(readonly=True, copy=False, groups=_MANAGER)

    can_encrypt = fields.Boolean(compute="_compute_encryption", groups=_MANAGER)
    encryption_state = fields.Selection(
        words.ENCRYPTION_STATES,
        string="Device State",
        compute="_compute_encryption",
        groups=_MANAGER,
    )
    encryption_problem = fields.Char(compute="_compute_encryption", groups=_MANAGER)
    encryption_device = fields.Char(
        string="Device of the Keys", compute="_compute_encryption", groups=_MANAGER
    )
    encryption_fingerprint = fields.Char(
        string="Fingerprint",
        compute="_compute_encryption",
        groups=_MANAGER,
        help="Matrix clients show it as the session key of the device. If both are the "
        "same, nobody has replaced the device.",
    )
    encryption_synced_at = fields.Datetime(
        string="Last Contact",
        compute="_compute_encryption",
        groups=_MANAGER,
        help="When the worker last received updates about people's devices.",
    )

    @api.depends_context("lang")
    @api.depends("encryption_mode", "token_sealed", "appservice_device_id")
    def _compute_encryption(self):
        can_encrypt = self.env["matrix.worker"]._can_encrypt()
        found = self._read_encryption()
        for backend in self:
            row = found.get(backend._origin.id, {})
            state = backend._encryption_state(row, can_encrypt)
            backend.can_encrypt = can_encrypt
            backend.encryption_state = state
            backend.encryption_problem = backend._encryption_problem(state, row)
            backend.encryption_device = row.get("device_id")
            backend.encryption_fingerprint = " ".join(
                wrap(row.get("fingerprint") or "", 4)
            )
            backend.encryption_synced_at = row.get("synced_at")

    def _read_encryption(self):
        """Return by id what the worker has written about the devices' keys."""
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT b.id, c.id IS NOT NULL AS has_keys, c.matrix_user_id,
                    c.device_id, c.state, c.reason, c.fingerprint, c.signature,
                    c.signature_reason, c.setup_state, c.setup_reason, f.synced_at,
                    r.id IS NOT NULL AS is_asked,
                    b.encryption_asked_at < now() AT TIME ZONE 'UTC' - %s
                        AND (c.setup_at IS NULL OR c.setup_at < b.encryption_asked_at)
                        AS is_untaken
                FROM matrix_backend AS b
                LEFT JOIN matrix_crypto AS c ON c.backend_id = b.id
                LEFT JOIN matrix_crypto_request AS r ON r.backend_id = b.id
                LEFT JOIN matrix_follower AS f ON f.backend_id = b.id
                WHERE b.id = ANY(%s)
                """,
                REQUEST_VALID,
                self._origin.ids,
            )
        )
        return {row["id"]: row for row in rows}

    def _encryption_state(self, row, can_encrypt):
        if not self._encrypts():
            return False
        if not can_encrypt:
            return "no_worker"
        is_untaken = row.get("is_untaken")
        is_running = row.get("is_asked") or row.get("setup_state") == "running"
        if is_running and not is_untaken:
            return "setup"
        has_failed = is_untaken or row.get("setup_state") == "failed"
        if row.get("has_keys") and row["state"] == "ok":
            if row["signature"] == "signed":
                return "mixed" if self._without_encryption() else "ready"
            is_unsigned = has_failed or row["signature"] == "missing"
            return "unsigned" if is_unsigned else "setup"
        if has_failed:
            return "failed"
        return row.get("state") or "setup"

    def _encryption_problem(self, state, row):
        """Return in plain words what is wrong, and what solves it, or nothing."""
        if state in (False, "ready", "setup"):
            return False
        untaken = row.get("is_untaken") and self.env._(
            "No worker took the request to set up encryption within 15 minutes, so "
            "it is no longer valid."
        )
        if state == "no_worker":
            parts = [self._no_encrypting_worker(), untaken]
            return " ".join(part for part in parts if part)
        if state == "mixed":
            return self.env._(
                "Workers that were built without encryption are running too, and refuse"
                " the messages for encrypted rooms that they get: %(names)s. Upgrade "
                "or stop them, then send again from Logs what has failed.",
                names=", ".join(self._without_encryption().mapped("name")),
            )
        reason = row.get("reason")
        if untaken:
            reason = untaken
        elif row.get("setup_state") == "failed":
            reason = row["setup_reason"]
        elif state == "unsigned":
            reason = row["signature_reason"]
        remedies = {
            "failed": self.env._("Click “Set Up Again”."),
            "unsigned": self.env._(
                "Some Matrix clients do not show messages of a device that is not "
                "verified. Click “Verify Device”."
            ),
        }
        waits = self.env._(
            "Messages for encrypted rooms wait; other rooms are not affected. Click "
            "“New Device”."
        )
        parts = [
            reason and f"{reason[0].upper()}{reason[1:].rstrip('.')}.",
            remedies.get(state, waits),
        ]
        return " ".join(part for part in parts if part)

    def _warning_about_keys(self, client, account, device_id):
        """Return, for Test Connection, what is wrong with the device's keys, if
        anything."""
        if not self._encrypts() or not device_id:
            return None
        state, problem = self.encryption_state, self.encryption_problem
        if problem:
            return self.env._("Encryption: %(problem)s", problem=problem)
        if state != "ready":
            return self.env._("Encryption is being set up. Test again in a minute.")
        if device_id != self.encryption_device:
            return self.env._(
                "Messages are sent from the device %(device)s, and the keys of "
                "encryption belong to %(other)s. Click “New Device”.",
                device=device_id,
                other=self.encryption_device,
            )
        found = client.device(account, device_id)
        ours = self.encryption_fingerprint.replace(" ", "")
        if not found or found["fingerprint"] != ours:
            return self.env._(
                "The homeserver shows people other keys of the device %(device)s than "
                "those that the worker has. Click “New Device”.",
                device=device_id,
            )
        if not found["is_signed"]:
            return self.env._(
                "The homeserver shows people the device %(device)s without a signature "
                "of its account. Click “Verify Device”.",
                device=device_id,
            )
        return None

    @api.model
    def _no_encrypting_worker(self):
        """Return in plain words why no worker encrypts now."""
        running = self._without_encryption()
        if not running:
            return self.env._("No worker is running: messages wait until one does.")
        return self.env._(
            "The running worker (%(names)s) was built without encryption. Install "
            "one that was built with it.",
            names=", ".join(running.mapped("name")),
        )

    @api.model
    def _without_encryption(self):
        """Return the running workers that were built without encryption."""
        running = self.env["matrix.worker"]._running()
        return running.filtered(lambda worker: not worker.can_encrypt)

    @api.model
    def _rotate_token_key(self):
        count = super()._rotate_token_key()
        for table, column in (
            ("matrix_crypto_item", "sealed"),
            ("matrix_crypto_request", "secret_sealed"),
            ("matrix_upload", "file_sealed"),
            ("matrix_inbound", "file_sealed"),
        ):
            self._rotate_key_of(SQL.identifier(table), SQL.identifier(column))
        return count

    @api.model
    def _rotate_key_of(self, table, column):
        """Seal again what workers have sealed, or are to open.

        What no key opens stays: the worker says what that means.
        """
        rows = self.env.execute_query(
            SQL("SELECT id, %s FROM %s WHERE %s IS NOT NULL", column, table, column)
        )
        changed = []
        for row_id, sealed in rows:
            with contextlib.suppress(tokens.SealError):
                changed.append((row_id, tokens.seal(tokens.unseal(sealed))))
        self.env.cr.execute(
            SQL(
                """
                UPDATE %s AS t SET %s = changed.sealed
                FROM unnest(%s::bigint[], %s::text[]) AS changed (id, sealed)
                WHERE t.id = changed.id
                """,
                table,
                column,
                [row_id for row_id, _sealed in changed],
                [sealed for _row_id, sealed in changed],
            )
        )

    def _encrypts(self):
        """Whether messages of this backend for encrypted rooms are encrypted."""
        # With all rights: plain users need not see the setting to be informed of it.
        return self.sudo().encryption_mode == "encrypt"
