from odoo import http
from odoo.http import request

from .inbound import BACKEND, PUBLIC, InboundController, Refusal

# The worker uploads nothing larger.
_MAX_BYTES = 100 * 1024 * 1024


class FilesController(InboundController):
    """Where the worker fetches the file of a message that waits."""

    @http.route(
        f"/mail_matrix/files/{BACKEND}/<string:txn_id>", methods=["GET"], **PUBLIC
    )
    def matrix_file(self, backend_id, txn_id, **_ignored):
        try:
            content = self._file(backend_id, txn_id)
        except Refusal as refusal:
            return self._refuse(refusal)
        # Whatever it is, no browser should display it.
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return request.make_response(content, headers=headers)

    def _file(self, backend_id, txn_id):
        """Return the bytes of the one file for which this request has a proof.

        Only while its message waits in the outbox. Raises Refusal.
        """
        backend = request.env(su=True)["matrix.backend"].browse(backend_id).exists()
        if not backend.is_active or not backend.send_files:
            raise Refusal(404, "M_NOT_FOUND", "No files are given here.")
        if not backend._knows_file_proof(txn_id, self._bearer()):
            raise Refusal(403, "M_FORBIDDEN", "The proof is not valid for this file.")
        rows = request.env(su=True)["matrix.outbox"]
        domain = [("txn_id", "=", txn_id), ("backend_id", "=", backend.id)]
        attachment = rows.search(domain, limit=1).attachment_id
        if attachment.file_size > _MAX_BYTES:
            raise Refusal(413, "M_TOO_LARGE", f"At most {_MAX_BYTES} bytes are given.")
        content = attachment.type == "binary" and attachment.raw
        if not content:
            raise Refusal(404, "M_NOT_FOUND", "The file does not wait for anybody.")
        return content
