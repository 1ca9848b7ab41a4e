import json
from time import sleep

from odoo import http
from odoo.http import request
from odoo.tools import SQL

from ..tools import words
from ..tools.inbound import BadBatch, read_batch

_MAX_ID = 2**31 - 1
BACKEND = f"<int(max={_MAX_ID}):backend_id>"
PUBLIC = {
    "type": "http",
    "auth": "none",
    "csrf": False,
    "save_session": False,
    # Otherwise Odoo would give these routes a read-only transaction.
    "readonly": False,
}


# Seconds between two looks whether the request before is done.
_PAUSE = 0.05


class Refusal(Exception):
    """A refusal. Its text is for the log of the program that called."""

    def __init__(self, status, errcode, message, **headers):
        super().__init__(message)
        self.status = status
        self.errcode = errcode
        self.headers = headers


class InboundController(http.Controller):
    """Receives events from rooms."""

    def _answer(self, mode, backend_id, max_bytes, patience=0, is_worker=True):
        """Process the body of this request and return the answer.

        :param patience: how many seconds to wait for the request before
        :param is_worker: the worker calls, and not the homeserver
        """
        try:
            backend = self._backend(mode, backend_id)
            events, names = self._read_batch(max_bytes)
            if not is_worker and backend._gets_all_from_worker():
                # A reaction must not come before the message that it is about, which
                # only the worker can decrypt.
                events = backend._before_encryption(events)
                if not events:
                    return self._json({})
            self._lock(backend, patience)
            request.env["matrix.inbound"]._ingest(backend, events, names)
        except Refusal as refusal:
            return self._refuse(refusal)
        return self._json({})

    def _backend(self, mode, backend_id):
        """Return the backend if this request has its secret. Raises Refusal."""
        backend = request.env(su=True)["matrix.backend"].browse(backend_id).exists()
        if not backend.is_active or backend.inbound_mode != mode:
            raise Refusal(404, "M_NOT_FOUND", "This backend takes no events.")
        if not backend._knows_inbound_secret(self._bearer()):
            raise Refusal(403, "M_FORBIDDEN", "The secret is not valid.")
        return backend

    def _bearer(self):
        """Return the Bearer token of this request. Raises Refusal."""
        header = request.httprequest.headers.get("Authorization", "")
        scheme, _blank, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Refusal(401, "M_UNAUTHORIZED", "Send the secret as a Bearer token.")
        return secret

    def _read_batch(self, max_bytes):
        length = request.httprequest.content_length
        if length is None:
            raise Refusal(411, "M_UNKNOWN", "Send a Content-Length header.")
        if length > max_bytes:
            raise Refusal(
                413, "M_TOO_LARGE", f"At most {max_bytes} bytes are accepted."
            )
        try:
            # Kept, because Odoo calls the route again after a conflict of transactions.
            return read_batch(request.httprequest.get_data())
        except BadBatch as error:
            errcode = "M_TOO_LARGE" if error.status == 413 else "M_NOT_JSON"
            raise Refusal(error.status, errcode, str(error)) from None

    def _lock(self, backend, patience):
        """Allow one request per backend at a time. Raises Refusal."""
        if not self._try_lock(backend) and not self._wait(backend, patience):
            raise Refusal(
                429,
                "M_LIMIT_EXCEEDED",
                "The previous events are still being processed.",
                **{"Retry-After": "1"},
            )

    def _wait(self, backend, patience):
        """Return whether the backend became free for this request within ``patience``.

        Only one request per backend waits: each occupies a process of Odoo, which has
        few.
        """
        turn = words.LOCK_INBOUND_TURN, backend.id
        # It belongs to the session, because each try ends the transaction.
        if not patience or not self._ask("pg_try_advisory_lock", *turn):
            return False
        try:
            for _look in range(round(patience / _PAUSE)):
                sleep(_PAUSE)
                if self._try_lock(backend):
                    return True
            return False
        except Exception:
            # Otherwise the next statement would fail, and the turn would stay taken.
            request.env.cr.rollback()
            raise
        finally:
            self._ask("pg_advisory_unlock", *turn)

    def _try_lock(self, backend):
        """Take the backend if it is free, in a transaction that begins now: it sees
        what the request before has stored."""
        request.env.cr.rollback()
        return self._ask("pg_try_advisory_xact_lock", words.LOCK_INBOUND, backend.id)

    def _ask(self, function, *key):
        """Return what this function of PostgreSQL says about an advisory lock."""
        query = SQL("SELECT %s(%s, %s)", SQL.identifier(function), *key)
        [(result,)] = request.env.execute_query(query)
        return result

    def _refuse(self, refusal):
        answer = {"errcode": refusal.errcode, "error": str(refusal)}
        return self._json(answer, refusal.status, refusal.headers)

    def _json(self, answer, status=200, headers=None):
        return request.make_response(
            json.dumps(answer),
            headers={"Content-Type": "application/json", **(headers or {})},
            status=status,
        )
