from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError

from ...tools import token as tokens


class MatrixBackend(models.Model):
    """The account's access token: written by managers, read by nobody."""

    _inherit = "matrix.backend"

    # Removed from the values by create and write, so that it cannot be read even from
    # the cache of the transaction that sets it.
    personal_access_token = fields.Char(
        string="Access Token",
        compute="_compute_personal_access_token",
        readonly=False,
        groups="mail_matrix.group_matrix_manager",
        help="Access token of the Matrix account that sends. It is stored "
        "encrypted and never shown. Enter it again when the address changes "
        "or the certificate is no longer verified.",
    )
    token_sealed = fields.Char(groups=fields.NO_ACCESS, copy=False)
    token_state = fields.Selection(
        [
            ("none", "No token"),
            ("sealed", "Sealed"),
            ("plain", "Not sealed"),
            ("unsealed", "Not sealed yet"),
            ("lost", "Cannot be opened"),
        ],
        string="Token",
        compute="_compute_token_state",
        groups="mail_matrix.group_matrix_manager",
    )

    def _compute_personal_access_token(self):
        self.personal_access_token = False

    @api.depends("token_sealed")
    def _compute_token_state(self):
        for backend in self:
            sealed = backend.sudo().token_sealed
            if not sealed:
                backend.token_state = "none"
            elif tokens.is_plain(sealed):
                backend.token_state = "unsealed" if tokens.has_key() else "plain"
            else:
                try:
                    tokens.unseal(sealed)
                    backend.token_state = "sealed"
                except ValueError:
                    backend.token_state = "lost"

    @api.onchange("homeserver_url", "verify_ssl")
    def _onchange_homeserver(self):
        stored = self._origin
        is_lost = (
            stored.sudo().token_sealed
            and not self.personal_access_token
            and stored._reveals_token(self.homeserver_url, self.verify_ssl)
        )
        if not is_lost:
            return None
        return {
            "warning": {
                "type": "notification",
                "title": self.env._("Enter the access token again"),
                "message": self.env._(
                    "The stored token belongs to the previous server. It will be "
                    "removed when you save, because another server could read it."
                ),
            }
        }

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [dict(vals) for vals in vals_list]
        given = [vals.pop("personal_access_token", None) for vals in vals_list]
        sealed = [token and self._seal(token) for token in given]
        backends = super().create(vals_list)
        for backend, value in zip(backends, sealed, strict=True):
            if value:
                backend._store_sealed(value)
        return backends

    def write(self, vals):
        vals = dict(vals)
        token = vals.pop("personal_access_token", None)
        sealed = token and self._seal(token)
        elsewhere = self.browse() if sealed else self._revealing(vals)
        result = super().write(vals)
        if sealed:
            # Odoo does not check an empty write, and sudo() below would let it pass.
            self.check_access("write")
            self._store_sealed(sealed)
        if elsewhere:
            elsewhere._store_sealed(False)
        return result

    def _revealing(self, vals):
        """Return those of these whose secrets ``vals`` would send to another server."""
        if not {"homeserver_url", "verify_ssl"} & vals.keys():
            return self.browse()
        return self.filtered(
            lambda backend: backend._reveals_token(
                vals.get("homeserver_url", backend.homeserver_url),
                vals.get("verify_ssl", backend.verify_ssl),
            )
        )

    def _reveals_token(self, url, verify_ssl):
        """Whether these values would send the stored token to another server."""
        # With all rights: users may not read the address. Write access is checked
        # later.
        now = self.sudo()
        url = self._tidy({"homeserver_url": url})["homeserver_url"]
        return (now.verify_ssl and not verify_ssl) or (
            _origin(now.homeserver_url) != _origin(url)
        )

    def action_forget_token(self):
        self.check_access("write")
        self._store_sealed(False)

    def _store_sealed(self, sealed):
        # With all rights: no user has access to this column.
        self.sudo().write({"token_sealed": sealed})

    @api.model
    def _seal(self, token):
        if not isinstance(token, str) or not tokens.is_wellformed(token):
            # This text must not contain the token.
            raise ValidationError(
                self.env._(
                    "An access token is a single word without spaces or line "
                    "breaks. Copy it again, without the text around it."
                )
            )
        try:
            return tokens.seal(token)
        except tokens.BadKeyError as error:
            raise UserError(str(error)) from None

    def _token(self):
        """Return the token for a call that a person waits for. Raises UserError."""
        self.ensure_one()
        # With all rights: no user may read this column.
        sealed = self.sudo().token_sealed
        if not sealed:
            raise UserError(
                self.env._("“%(backend)s” has no access token yet.", backend=self.name)
            )
        try:
            return tokens.unseal(sealed)
        except ValueError:
            raise UserError(
                self.env._(
                    "The access token of “%(backend)s” was encrypted with another "
                    "key. Restore that key in odoo.conf (%(option)s), or enter the"
                    " token again.",
                    backend=self.name,
                    option=tokens.KEY_OPTION,
                )
            ) from None

    @api.model
    def _rotate_token_key(self):
        """Seal every token again with the first configured key; return how many.

        For ``odoo-bin matrix_rotate_key``, after a new key was put before the old one.
        A token that no key opens raises UserError, and nothing changes.
        """
        if not tokens.has_key():
            raise UserError(
                self.env._(
                    "No key is configured: set %(option)s in odoo.conf or "
                    "%(variable)s in the environment.",
                    option=tokens.KEY_OPTION,
                    variable=tokens.KEY_VARIABLE,
                )
            )
        backends = self.sudo().search([("token_sealed", "!=", False)])
        for backend in backends:
            backend.token_sealed = self._seal(backend._token())
        return len(backends)


def _origin(url):
    """Return scheme, host and port of ``url``, or ``url`` itself if it is not a URL."""
    try:
        parts = urlsplit((url or "").strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname, port
    except ValueError:
        return url
