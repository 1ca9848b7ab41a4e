import hmac
from datetime import timezone

from odoo import api, fields, models

from ...tools import token as tokens

_MANAGER = "mail_matrix.group_matrix_manager"
# The worker's proof is for one minute; an older one is refused.
_LONGEST_PROOF = 120


class MatrixBackend(models.Model):
    """Files of Odoo are sent: the worker fetches each one here and uploads it."""

    _inherit = "matrix.backend"

    send_files = fields.Boolean(
        copy=False,
        groups=_MANAGER,
        help="Files of chatter messages that are posted in a room, and files of the "
        "composer, are sent after their text. The homeserver keeps a copy, which every "
        "account there that knows its address can open.",
    )
    files_url = fields.Char(
        string="Address of Odoo's Files",
        compute="_compute_files_url",
        store=True,
        readonly=False,
        copy=False,
        groups=_MANAGER,
        help="The address at which the worker fetches files from Odoo.",
    )

    @api.depends("send_files")
    def _compute_files_url(self):
        for backend in self:
            backend.files_url = backend._address_of_odoo(backend.send_files and "files")

    @api.constrains("files_url")
    def _check_files_url(self):
        for backend in self:
            backend._check_address_of_odoo(backend.files_url)

    def _knows_file_proof(self, txn_id, shown):
        """Whether ``shown`` proves that the worker is asking for this one file now.

        It is a time and a signature by the account's token, which both sides have.
        """
        until, _dot, signature = shown.partition(".")
        sealed = self.sudo().token_sealed
        if not (until.isascii() and until.isdecimal() and len(until) < 15 and sealed):
            return False
        now = self.env.cr.now().replace(tzinfo=timezone.utc).timestamp()
        try:
            key = tokens.unseal(sealed).encode()
        except ValueError:
            return False
        text = f"org.odoo.file {self.id} {txn_id} {until}"
        right = hmac.new(key, text.encode("utf-8", "replace"), "sha256").hexdigest()
        same = hmac.compare_digest(right.encode(), signature.encode("utf-8", "replace"))
        return same and 0 <= int(until) - now <= _LONGEST_PROOF
