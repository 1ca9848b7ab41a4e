import hmac
import secrets
from datetime import timezone
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import SQL

from ...tools import token as tokens

_MANAGER = "mail_matrix.group_matrix_manager"
_PATHS = {"follow": "inbound", "appservice": "appservice"}
_ADDRESSES = ("inbound_url", "files_url")


class MatrixBackend(models.Model):
    """Shows in the chatter what people write in rooms, if the backend is set so."""

    _inherit = "matrix.backend"

    inbound_mode = fields.Selection(
        [
            ("none", "No"),
            ("follow", "Yes: the worker reads them and passes them on to Odoo"),
            (
                "appservice",
                "Yes: the homeserver sends them to Odoo (application service)",
            ),
        ],
        string="Messages from Rooms",
        default="none",
        copy=False,
        groups=_MANAGER,
        help="Whether what people write in a record's room appears in its chatter.",
    )
    inbound_url = fields.Char(
        string="Address of Odoo",
        compute="_compute_inbound_url",
        store=True,
        readonly=False,
        copy=False,
        groups=_MANAGER,
        help="Address at which the homeserver, or the worker, reaches Odoo.",
    )
    inbound_file_mb = fields.Integer(
        string="Largest File (MB)",
        default=25,
        groups=_MANAGER,
        help="Files from rooms up to this size are attached to the note. 0: none.",
    )
    # The account's Matrix ID, found by Test Connection and the registration file.
    inbound_account = fields.Char(readonly=True, copy=False, groups=_MANAGER)
    inbound_secret_sealed = fields.Char(groups=fields.NO_ACCESS, copy=False)

    @api.depends("inbound_mode")
    def _compute_inbound_url(self):
        for backend in self:
            path = _PATHS.get(backend.inbound_mode)
            backend.inbound_url = backend._address_of_odoo(path)

    def _address_of_odoo(self, path):
        """Return where Odoo serves ``path`` for this backend, or False.

        False without a path, and before the backend has an id.
        """
        stored_id = self._origin.id
        if not (path and stored_id):
            return False
        return f"{self.get_base_url()}/mail_matrix/{path}/{stored_id}"

    @api.constrains("inbound_url")
    def _check_inbound_url(self):
        for backend in self:
            backend._check_address_of_odoo(backend.inbound_url)

    def _check_address_of_odoo(self, url):
        """Raise ValidationError unless ``url`` is empty or can be called."""
        try:
            parts = url and urlsplit(url)
            is_valid = not url or (
                parts.scheme in ("http", "https")
                and parts.hostname
                and not (parts.query or parts.fragment or parts.username)
                and not any(character.isspace() for character in url)
            )
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValidationError(
                self.env._(
                    "“%(url)s” is not a valid address of Odoo. Write it as "
                    "https://odoo.example.org/…, without “?” and “#”.",
                    url=url,
                )
            )

    @api.model_create_multi
    def create(self, vals_list):
        backends = super().create(vals_list)
        backends._fill_addresses()
        for backend in backends:
            if backend.sudo().inbound_mode in _PATHS:
                backend._renew_inbound_secret()
        return backends

    def write(self, vals):
        changed = self.browse()
        if "inbound_mode" in vals:
            changed = self.filtered(
                lambda backend: backend.sudo().inbound_mode != vals["inbound_mode"]
            )
        switched = self.browse()
        if "encryption_mode" in vals:
            switched = self.filtered(
                lambda backend: (
                    backend.sudo().inbound_mode == "appservice"
                    and backend.sudo().encryption_mode != vals["encryption_mode"]
                )
            )
        result = super().write(vals)
        if any(name in vals and not vals[name] for name in _ADDRESSES):
            self._fill_addresses()
        changed._renew_inbound_secret()
        changed._forget_old_position()
        if vals.get("encryption_mode") == "encrypt":
            switched._forget_old_position()
        else:
            switched._keep_old_position()
        return result

    def _fill_addresses(self):
        """Give addresses of Odoo that are empty their default.

        A form sends a new backend's as empty, because they contain its id.
        """
        for name in _ADDRESSES:
            empty = self.filtered(lambda backend, name=name: not backend.sudo()[name])
            self.env.add_to_compute(self._fields[name], empty)

    def _renew_inbound_secret(self):
        """Create a secret for the new feed; remove it if nothing comes in."""
        # With all rights: no user has access to this column.
        for backend in self.sudo():
            is_on = backend.inbound_mode in _PATHS
            secret = is_on and self._seal(secrets.token_urlsafe(32))
            backend.inbound_secret_sealed = secret

    def _forget_old_position(self):
        """Let the worker begin anew if it has not read the account for long.

        What was written meanwhile may have come in the other way; after a day it
        is not recognised any more.
        """
        if self.ids:
            self.env.cr.execute(
                """
                UPDATE matrix_follower SET since = NULL
                WHERE backend_id = ANY(%s) AND since IS NOT NULL
                    AND synced_at < now() AT TIME ZONE 'UTC' - interval '12 hours'
                """,
                [self.ids],
            )

    def _keep_old_position(self):
        """Let the worker go on from where it was, however long ago that is.

        What was written since was to come from a worker only, because encryption was
        on. The position of a worker that runs is not old, and is not written here.
        """
        if self.ids:
            self.env.cr.execute(
                """
                UPDATE matrix_follower SET synced_at = now() AT TIME ZONE 'UTC'
                WHERE backend_id = ANY(%s) AND since IS NOT NULL
                    AND synced_at < now() AT TIME ZONE 'UTC' - interval '1 hour'
                """,
                [self.ids],
            )

    def _before_encryption(self, events):
        """Return those of ``events`` that were written before encryption was set up.

        The worker may have begun after them, because it was the homeserver that had to
        send them, and Odoo may have been down.
        """
        asked_at = self.sudo().encryption_asked_at
        if not asked_at:
            return []
        asked_ms = asked_at.replace(tzinfo=timezone.utc).timestamp() * 1000

        def is_before(event):
            sent = isinstance(event, dict) and event.get("origin_server_ts")
            return isinstance(sent, int) and 0 < sent < asked_ms

        return [event for event in events if is_before(event)]

    def _gets_all_from_worker(self):
        """Whether a worker passes on everything that is written in rooms, in its order.

        Where messages are encrypted it does so, also if the homeserver sends what it
        can, from the position at which it has begun to read. A worker of an earlier
        release passes on nothing, and may be the one that serves this backend.
        """
        if not self._encrypts() or not self._all_workers_encrypt_there():
            return False
        query = SQL(
            "SELECT EXISTS (SELECT FROM matrix_follower WHERE backend_id = %s "
            "AND matrix_user_id = %s AND since IS NOT NULL)",
            self.id,
            self.sudo().inbound_account or None,
        )
        [(has_position,)] = self.env.execute_query(query)
        return has_position

    def _inbound_secret(self):
        """Return the secret that the feed must send, or None if there is none."""
        sealed = self.sudo().inbound_secret_sealed
        try:
            return tokens.unseal(sealed) if sealed else None
        except ValueError:
            return None

    def _knows_inbound_secret(self, shown):
        """Whether ``shown`` is the secret, compared in constant time."""
        secret = self._inbound_secret()
        # Without a secret, a random one is compared, so that it takes as long.
        right = (secret or secrets.token_urlsafe(32)).encode()
        same = hmac.compare_digest(right, shown.encode("utf-8", "replace"))
        return bool(secret) and same

    def action_renew_inbound_secret(self):
        self.ensure_one()
        self.check_access("write")
        self._renew_inbound_secret()

    @api.model
    def _rotate_token_key(self):
        count = super()._rotate_token_key()
        for backend in self.sudo().search([("inbound_secret_sealed", "!=", False)]):
            secret = backend._inbound_secret()
            if not secret:
                raise UserError(
                    self.env._(
                        "No configured key opens the secret of “%(backend)s” for "
                        "messages from rooms. Make a new one on the backend.",
                        backend=backend.name,
                    )
                )
            backend.inbound_secret_sealed = self._seal(secret)
        return count
