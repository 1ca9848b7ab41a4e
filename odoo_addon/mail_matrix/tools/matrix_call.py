"""One call to a homeserver, and the checks of its answer."""

import http.client
import json
import os
import ssl
import time
import warnings

import requests
import urllib3.exceptions

from .matrix_error import MatrixError, Reasons
from .matrix_transport import Transport

MAX_ANSWER_BYTES = 4 * 1024 * 1024


class MatrixCall:
    """Calls one homeserver, with an account or without one.

    Every method raises MatrixError if the answer is not what it should be.

    :param env: gives the language of the error texts.
    :param url: address of the client API, without a slash at the end.
    :param token: access token, or None for endpoints that need none.
    :param connect_timeout: seconds within which the connection must be open.
    :param read_timeout: seconds without a byte after which the answer is given up.
    :param total_timeout: seconds after which the rest of an answer is given up.
    :param max_answer_bytes: a larger answer is given up; default MAX_ANSWER_BYTES.
    :param user_id: the account to act as, if the token is an application service's.
    :param device_id: a device of that account.
    """

    def __init__(
        self,
        env,
        url,
        token=None,
        verify_ssl=True,
        connect_timeout=5,
        read_timeout=10,
        total_timeout=20,
        max_answer_bytes=None,
        user_id=None,
        device_id=None,
    ):
        self.url = url.rstrip("/")
        self.verify_ssl = verify_ssl
        self.timeout = (connect_timeout, read_timeout)
        self.total_timeout = total_timeout
        self.max_answer_bytes = max_answer_bytes
        self._token = token
        acting = {"user_id": user_id, "device_id": device_id}
        self._acting = {name: value for name, value in acting.items() if value}
        self._reasons = Reasons(env, self.url, token)
        self.host = self._reasons.host

    def _call_or_none(self, method, path):
        """Like _call, but None if the server says that it was not found."""
        try:
            return self._call(method, path)
        except MatrixError as error:
            if error.status == 404 and error.errcode == "M_NOT_FOUND":
                return None
            raise

    def _call(self, method, path, body=None, signed=True, answers=dict):
        """Return the JSON answer, which must be of the type ``answers``."""
        response, raw = self._ask(method, path, body, signed)
        answer = self._parse(raw)
        if not 200 <= response.status_code < 300:
            raise self._reasons.refusal(response, answer)
        if not isinstance(answer, answers):
            raise self._reasons.not_matrix()
        return answer

    def _ask(self, method, path, body=None, signed=True):
        """Return response and body, whatever its status."""
        try:
            return self._exchange(method, path, body, signed)
        except (
            OSError,
            http.client.HTTPException,
            urllib3.exceptions.HTTPError,
        ) as error:
            # Its traceback would contain the request, and with it the token.
            raise self._reasons.no_answer(error) from None
        except ValueError:
            raise self._reasons.no_address() from None

    def _exchange(self, method, path, body, signed):
        deadline = time.monotonic() + self.total_timeout
        with requests.Session() as session, warnings.catch_warnings():
            if not self.verify_ssl:
                # The backend's form already warns of this.
                warnings.simplefilter(
                    "ignore", urllib3.exceptions.InsecureRequestWarning
                )
            transport = Transport(*self.timeout, deadline)
            session.mount("https://", transport)
            session.mount("http://", transport)
            # A proxy of the environment would read the token.
            session.trust_env = not self.url.startswith("http:")
            response = session.request(
                method,
                self.url + path,
                params=self._acting if signed else None,
                json=body,
                # A callable, because netrc entries of requests replace a header.
                auth=self._sign if signed and self._token else _unsigned,
                verify=self.verify_ssl and _authorities(),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return response, self._read(response)

    def _sign(self, request):
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _read(self, response):
        most = self.max_answer_bytes or MAX_ANSWER_BYTES
        raw = bytearray()
        for chunk in response.iter_content(16 * 1024):
            raw += chunk
            if len(raw) > most:
                raise self._reasons.too_large(most)
        if response.raw.length_remaining:
            raise requests.ConnectionError
        return bytes(raw)

    def _parse(self, raw):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return None


def _unsigned(request):
    return request


def _authorities():
    """Return where to find certificate authorities: the system's store, as the worker.

    requests has its own list, without the organisation's own authorities.
    """
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    is_filled = paths.capath and any(os.scandir(paths.capath))
    return paths.capath if is_filled else True
