"""Decrypts files of encrypted rooms.

The homeserver has the ciphertext; key and checksum are in the message, in the form that
the Matrix specification calls EncryptedFile, version 2.
"""

import hashlib
import json
from base64 import b64decode, urlsafe_b64decode

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class BadKeyError(ValueError):
    """What the message says of its file does not follow the specification."""


class WrongFileError(ValueError):
    """The bytes are not those that the sender has uploaded."""


def decrypt(ciphertext, text):
    """Return the bytes of the file. Raises BadKeyError and WrongFileError.

    :param text: what the message says of the file, as JSON
    """
    key, iv, digest = _read(text)
    if hashlib.sha256(ciphertext).digest() != digest:
        raise WrongFileError("the checksum is another one")
    decryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def _read(text):
    # Errors must not quote what they are about.
    try:
        file = json.loads(text)
        form = file["v"], file["key"]["alg"]
        key = urlsafe_b64decode(_padded(file["key"]["k"]))
        iv = b64decode(_padded(file["iv"]), validate=True)
        digest = b64decode(_padded(file["hashes"]["sha256"]), validate=True)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise BadKeyError("key, iv or checksum cannot be read") from None
    if form != ("v2", "A256CTR") or (len(key), len(iv), len(digest)) != (32, 16, 32):
        raise BadKeyError("another version, algorithm or length")
    return key, iv, digest


def _padded(text):
    text = text.rstrip("=")
    return text + "=" * (-len(text) % 4)
