from odoo import http

from .inbound import BACKEND, PUBLIC, InboundController

# The worker sends at most half of this.
_MAX_BYTES = 2 * 1024 * 1024


class WebhookController(InboundController):
    """Receives what the worker has read on the homeserver."""

    @http.route(f"/mail_matrix/inbound/{BACKEND}", methods=["POST"], **PUBLIC)
    def matrix_inbound(self, backend_id, **_ignored):
        return self._answer("follow", backend_id, _MAX_BYTES)
