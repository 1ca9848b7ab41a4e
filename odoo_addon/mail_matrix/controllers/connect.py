from odoo import http
from odoo.exceptions import UserError
from odoo.http import request

from ..models.matrix_backend.login import OtherAddress
from .answer import answer


class ConnectController(http.Controller):
    @http.route("/mail_matrix/connect", type="http", auth="user", methods=["POST"])
    def matrix_connect(
        self, url, backend_id="", verify="", user="", password="", token="", **_ignored
    ):
        """Connect an account; answer with the result as JSON.

        A separate route, because at log level debug Odoo logs the arguments of calls to
        models.
        """
        backends = request.env["matrix.backend"]
        backend = backends.browse(int(backend_id)) if backend_id else backends
        try:
            backend = backend._connect(
                url, verify == "true", user=user, password=password, token=token
            )
        except UserError as error:
            request.env.cr.rollback()
            found = error.url if isinstance(error, OtherAddress) else None
            return answer(problem=str(error), url=found)
        return answer(
            backend=backend.id,
            account=backend.test_account,
            problem=backend.test_problem,
            warnings=backend.test_warnings,
        )
