from odoo import http
from odoo.exceptions import UserError
from odoo.http import request

from ..models.matrix_backend.encryption_setup import SigningKeysExist
from .answer import answer


class EncryptionController(http.Controller):
    @http.route("/mail_matrix/encryption", type="http", auth="user", methods=["POST"])
    def matrix_encryption(self, backend_id, replace="", as_appservice="", **given):
        """Ask for a device with keys; answer with the problem as JSON, if there is one.

        A separate route, as for /mail_matrix/connect.
        """
        names = ("purpose", "user", "password", "token", "recovery_key")
        given = {name: given.get(name, "") for name in names}
        backend = request.env["matrix.backend"].browse(int(backend_id))
        try:
            backend._set_up_encryption(
                replace=replace == "true",
                as_appservice=as_appservice == "true",
                **given,
            )
        except UserError as error:
            request.env.cr.rollback()
            is_signed = isinstance(error, SigningKeysExist)
            return answer(problem=str(error), asks_for_key=is_signed)
        return answer(problem=False)
