from odoo import http
from odoo.http import request

from .inbound import BACKEND, PUBLIC, InboundController, Refusal

# A transaction has at most 100 events of 64 KiB. The homeserver repeats a refused one
# for ever, and everything after it waits.
_MAX_BYTES = 8 * 1024 * 1024
# The worker calls here too, and a homeserver that is refused takes Odoo to be down: it
# pauses for longer each time.
_PATIENCE = 5
# What the worker calls its transactions. A homeserver numbers them.
_OF_WORKER = "worker"
_ROOT = f"/mail_matrix/appservice/{BACKEND}"
_API = f"{_ROOT}/_matrix/app/v1"


class AppServiceController(InboundController):
    """The application service API of Matrix, as far as a homeserver calls it here."""

    @http.route(f"{_API}/transactions/<txn_id>", methods=["PUT"], **PUBLIC)
    def matrix_transaction(self, backend_id, txn_id, **_ignored):
        """Accept a transaction.

        Its number is not stored, because a homeserver that was set up again starts to
        count from the beginning. Each event is recognised by its own id.
        """
        is_worker = txn_id == _OF_WORKER
        return self._answer("appservice", backend_id, _MAX_BYTES, _PATIENCE, is_worker)

    @http.route(f"{_API}/ping", methods=["POST"], **PUBLIC)
    def matrix_ping(self, backend_id, **_ignored):
        try:
            self._backend("appservice", backend_id)
        except Refusal as refusal:
            return self._refuse(refusal)
        return self._json({})

    @http.route(
        [f"{_API}/users/<user_id>", f"{_API}/rooms/<alias>"],
        methods=["GET"],
        **PUBLIC,
    )
    def matrix_unknown(self, backend_id, **_ignored):
        """Answer that Odoo does not create users or rooms on demand."""
        try:
            self._backend("appservice", backend_id)
            raise Refusal(404, "M_NOT_FOUND", "Unknown to Odoo.")
        except Refusal as refusal:
            return self._refuse(refusal)

    @http.route(f"{_ROOT}/registration", type="http", auth="user", methods=["GET"])
    def matrix_registration(self, backend_id, **_ignored):
        """The file that the homeserver's administrator loads."""
        backend = request.env["matrix.backend"].browse(backend_id).exists()
        text = backend._appservice_registration()
        name = f"odoo-matrix-{backend_id}.yaml"
        return request.make_response(
            text,
            headers={
                "Content-Type": "application/yaml; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )
