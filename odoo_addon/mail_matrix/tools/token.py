"""Sealing of access tokens: the format in the database, which both programs read.

Formats: ``fernet:<Fernet token>`` or, if no key is configured, ``plain:<token>``.
"""

import os
import re

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from odoo.tools import config

KEY_OPTION = "matrix_token_key"
KEY_VARIABLE = "ODOO_MATRIX_TOKEN_KEY"
_SEALED = "fernet:"
_PLAIN = "plain:"


class BadKeyError(ValueError):
    """The configured key cannot be used."""


class SealError(ValueError):
    """A sealed token cannot be opened with the configured keys."""


def is_wellformed(token):
    """Whether ``token`` can be sent in an HTTP header: visible ASCII, no blanks."""
    return bool(re.fullmatch(r"[\x21-\x7e]+", token))


def has_key():
    return bool(_key_texts())


def seal(token):
    box = _box()
    return _SEALED + box.encrypt(token.encode()).decode() if box else _PLAIN + token


def unseal(sealed):
    """Return the token. Raises SealError if no configured key opens it."""
    if sealed.startswith(_PLAIN):
        return sealed.removeprefix(_PLAIN)
    box = _box()
    if not box:
        raise SealError("no key is configured")
    try:
        return box.decrypt(sealed.removeprefix(_SEALED).encode()).decode()
    except InvalidToken as error:
        raise SealError("no configured key opens it") from error


def is_plain(sealed):
    return sealed.startswith(_PLAIN)


def _key_texts():
    """Return the keys, first the one that seals. The environment precedes odoo.conf."""
    text = os.environ.get(KEY_VARIABLE) or config.get(KEY_OPTION) or ""
    return [key.strip() for key in text.split(",") if key.strip()]


def _box():
    keys = _key_texts()
    if not keys:
        return None
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        # This must not contain the key, and cryptography's error does not either.
        raise BadKeyError(
            f"{KEY_OPTION} in odoo.conf, or {KEY_VARIABLE}, is not a Fernet key: 32 "
            "bytes as 44 characters of URL-safe base64"
        ) from error
