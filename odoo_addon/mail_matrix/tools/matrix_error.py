"""Why a call to a homeserver failed, explained to the person who waits."""

import socket
import ssl
from urllib.parse import urlsplit

import requests

from odoo.exceptions import UserError

MAX_REMOTE_TEXT = 300


class ExplainedError(UserError):
    """A subclass of UserError that the web client shows like a UserError.

    The client only knows the names of Odoo's own classes: others it shows as "Oops!".
    """

    context = {"exception_class": "odoo.exceptions.UserError"}


class MatrixError(ExplainedError):
    """A call failed; the text explains why to the person who waits.

    ``errcode`` is the homeserver's own code or None, ``status`` the HTTP status or None
    if no answer came. ``is_too_large``: reading the answer was given up.
    """

    def __init__(self, message, errcode=None, status=None, is_too_large=False):
        super().__init__(message)
        self.errcode = errcode
        self.status = status
        self.is_too_large = is_too_large


class Reasons:
    """Makes the errors of one account on one homeserver.

    :param env: gives the language of the texts.
    :param url: address of the client API.
    :param token: must not appear in any text; or None.
    """

    def __init__(self, env, url, token):
        self.env = env
        self.url = url
        self.host = urlsplit(url).hostname or url
        self._secrets = [token] if token else []

    def hide(self, secret):
        """Remove ``secret``, which the server gets to know, from all texts."""
        self._secrets.append(secret)

    def not_matrix(self, errcode=None, status=None):
        return MatrixError(
            self.env._(
                "%(url)s answers, but it is not a Matrix homeserver. Check the "
                "address: it may differ from the address of the web client.",
                url=self.url,
            ),
            errcode=errcode,
            status=status,
        )

    def no_address(self):
        return MatrixError(
            self.env._(
                "“%(url)s” is not a valid address. Correct the homeserver address.",
                url=self.url,
            )
        )

    def too_large(self, most):
        return MatrixError(
            self.env._(
                "%(host)s sent an answer of more than %(size)s MiB, which "
                "is too large to process while you wait.",
                host=self.host,
                size=most // 2**20,
            ),
            is_too_large=True,
        )

    def no_answer(self, error):
        if isinstance(error, requests.exceptions.ProxyError):
            return MatrixError(
                self.env._(
                    "The proxy of this server (HTTPS_PROXY) did not connect to "
                    "%(host)s. List the homeserver in NO_PROXY if it can be "
                    "reached directly.",
                    host=self.host,
                )
            )
        certificate = _find(error, ssl.SSLCertVerificationError)
        if certificate:
            return MatrixError(
                self.env._(
                    "The TLS certificate of %(host)s cannot be trusted: %(reason)s. "
                    "Install a valid certificate there; for a test server you may turn "
                    "off “Verify TLS Certificate”.",
                    host=self.host,
                    reason=certificate.verify_message,
                )
            )
        if isinstance(error, requests.Timeout) or _find(error, TimeoutError):
            return MatrixError(
                self.env._(
                    "%(host)s did not answer in time. Is the homeserver running, "
                    "and can the Odoo server reach it?",
                    host=self.host,
                )
            )
        if _find(error, ssl.SSLError):
            return MatrixError(
                self.env._(
                    "%(host)s does not use TLS on this port. Check the port, or "
                    "whether the address should begin with http://.",
                    host=self.host,
                )
            )
        if _find(error, socket.gaierror):
            return MatrixError(
                self.env._(
                    "No host named %(host)s was found. Is it spelled correctly?",
                    host=self.host,
                )
            )
        if _find(error, ConnectionRefusedError):
            return MatrixError(
                self.env._(
                    "Cannot connect to %(url)s. Is the homeserver running, and is "
                    "the port correct?",
                    url=self.url,
                )
            )
        if isinstance(error, requests.exceptions.InvalidURL):
            return self.no_address()
        return MatrixError(
            self.env._(
                "The connection to %(host)s was interrupted before an answer "
                "arrived. Try again; if it keeps happening, check the logs of the "
                "homeserver or of its proxy.",
                host=self.host,
            )
        )

    def refusal(self, response, answer):
        status = response.status_code
        answer = answer if isinstance(answer, dict) else {}
        errcode = answer.get("errcode")
        errcode = self.remote(errcode) if isinstance(errcode, str) else None
        said = self.remote(answer.get("error") or response.reason or "")
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("Location", ""))
            message = self.env._(
                "%(url)s redirects to %(target)s. Odoo does not follow redirects, "
                "because the token would be sent along: enter the final address.",
                url=self.url,
                target=self.remote(f"{target.scheme}://{target.netloc.split('@')[-1]}")
                if target.netloc
                else self.remote(target.path) or "?",
            )
        elif errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
            message = self.env._(
                "%(host)s does not know the access token. It was revoked, has "
                "expired, or belongs to another homeserver: enter a new one.",
                host=self.host,
            )
        elif errcode in ("M_USER_LOCKED", "M_USER_SUSPENDED", "M_USER_DEACTIVATED"):
            message = self.env._(
                "The account is locked, suspended or deactivated on %(host)s. The "
                "administrator of the homeserver must unlock it.",
                host=self.host,
            )
        elif status == 429:
            message = self.env._(
                "%(host)s asks to wait: this account has sent too many requests. "
                "Try again in %(seconds)s seconds.",
                host=self.host,
                seconds=_seconds(response, answer),
            )
        elif errcode is None or errcode == "M_UNRECOGNIZED":
            if status < 500:
                return self.not_matrix(errcode, status)
            message = self.env._(
                "%(host)s cannot answer at the moment (HTTP %(status)s "
                "%(said)s). Try again later.",
                host=self.host,
                status=status,
                said=said,
            )
        else:
            message = self.env._(
                "%(host)s refused: %(said)s (%(errcode)s).",
                host=self.host,
                said=said.rstrip("."),
                errcode=errcode,
            )
        return MatrixError(message, errcode=errcode, status=status)

    def remote(self, text):
        """Return text from the server, shortened, on one line, without our secrets."""
        text = str(text)
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return " ".join(text.split())[:MAX_REMOTE_TEXT]


def _seconds(response, answer):
    """Return how long the server wants us to wait, in whole seconds."""
    wait_ms = answer.get("retry_after_ms")
    if isinstance(wait_ms, int | float) and 0 <= wait_ms < 1e9:
        return max(1, round(wait_ms / 1000))
    header = response.headers.get("Retry-After", "")
    return int(header) if header.isdigit() and len(header) < 7 else 60


def _find(error, kind):
    """Return the first exception of this kind among ``error`` and its causes."""
    seen, todo = set(), [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen or not isinstance(current, BaseException):
            continue
        if isinstance(current, kind):
            return current
        seen.add(id(current))
        todo += [
            *current.args,
            getattr(current, "reason", None),
            current.__cause__,
            current.__context__,
        ]
    return None
