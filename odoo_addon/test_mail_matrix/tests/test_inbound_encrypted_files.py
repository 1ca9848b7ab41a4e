import hashlib
import json
import os
from base64 import b64encode, urlsafe_b64encode
from unittest.mock import patch

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from odoo.tests import tagged

from odoo.addons.mail_matrix.tools import encrypted_file
from odoo.addons.mail_matrix.tools import token as tokens

from .inbound import InboundCase

URI = "mxc://example.org/abc"
PATH = "/_matrix/client/v1/media/download/example.org/abc"
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n\x00\xff" * 1000


def _unpadded(encode, content):
    return encode(content).decode().rstrip("=")


def encrypt(content):
    """Return the ciphertext of ``content`` and what a message says of it."""
    key, iv = os.urandom(32), os.urandom(8) + bytes(8)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    ciphertext = encryptor.update(content) + encryptor.finalize()
    digest = hashlib.sha256(ciphertext).digest()
    key = {"kty": "oct", "alg": "A256CTR", "k": _unpadded(urlsafe_b64encode, key)}
    file = {"v": "v2", "url": URI, "key": key, "iv": _unpadded(b64encode, iv)}
    file["hashes"] = {"sha256": _unpadded(b64encode, digest)}
    return ciphertext, file


@tagged("post_install", "-at_install")
class TestInboundEncryptedFiles(InboundCase):
    """A file of an encrypted room is attached decrypted; its key stays sealed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = Fernet.generate_key().decode()
        key = patch.dict(os.environ, {tokens.KEY_VARIABLE: cls.key})
        key.start()
        cls.addClassCleanup(key.stop)
        cls.serve_files()

    def setUp(self):
        super().setUp()
        self.ciphertext, self.file = encrypt(PDF)
        self.homeserver.answers["GET", PATH] = (200, self.ciphertext)

    def sent(self, sealed=None, **changes):
        sealed = sealed or tokens.seal(json.dumps({**self.file, **changes}))
        file = {"url": URI, "org.odoo.sealed": sealed}
        return self.event({"msgtype": "m.file", "body": "offer.pdf", "file": file})

    def take(self, *events):
        notes = self.ingest(*events)
        self.env["matrix.inbound"]._cron_fetch_files()
        self.env.invalidate_all()
        return notes

    def row(self):
        return self.env["matrix.inbound"].search([], limit=1)

    def stored(self):
        """Return everything that the database has of the events, as one text."""
        self.env.flush_all()
        self.env.cr.execute("SELECT string_agg(i::text, ' ') FROM matrix_inbound AS i")
        return self.env.cr.fetchone()[0]

    def assertRefused(self, reason):
        row = self.row()
        self.assertEqual(row.file_state, "refused")
        self.assertIn(reason, row.file_note)
        self.assertFalse(row.sudo().file_sealed)

    def test_it_is_attached_byte_for_byte_and_its_key_is_gone_then(self):
        notes = self.ingest(self.sent())
        self.assertIn("fernet:", self.stored())
        self.assertNotIn(self.file["key"]["k"], self.stored())

        self.env["matrix.inbound"]._cron_fetch_files()

        self.assertEqual(notes.attachment_ids.raw, PDF)
        self.assertEqual(notes.attachment_ids.name, "offer.pdf")
        self.assertEqual(notes.attachment_ids.mimetype, "application/pdf")
        self.assertNotIn("fernet:", self.stored())

    def test_other_bytes_than_those_that_were_sent_are_refused(self):
        changed = bytes([self.ciphertext[0] ^ 1]) + self.ciphertext[1:]
        self.homeserver.answers["GET", PATH] = (200, changed)

        note = self.take(self.sent())

        self.assertFalse(note.attachment_ids)
        self.assertIn("📎 offer.pdf", note.body)
        self.assertRefused("its checksum is wrong")

    def test_a_key_that_cannot_be_used_is_refused(self):
        key = self.file["key"]
        for changes in (
            {"v": "v1"},
            {"key": {**key, "alg": "A128CTR"}},
            {"key": {**key, "k": "c2hvcnQ"}},
            {"key": {**key, "k": None}},
            {"key": "text"},
            {"iv": "ü"},
            {"hashes": []},
        ):
            with self.subTest(changes):
                self.take(self.sent(**changes))
                self.assertRefused("its key in the message cannot be used")

    def test_what_another_key_has_sealed_is_refused(self):
        other = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()

        self.take(self.sent("fernet:" + other))

        self.assertRefused("same matrix_token_key")

    def test_what_the_worker_has_not_sealed_becomes_no_note(self):
        plain = {"msgtype": "m.file", "body": "offer.pdf"}
        for file in (
            self.file,
            {"url": URI, "org.odoo.sealed": "plain:" + json.dumps(self.file)},
            {"url": URI, "org.odoo.sealed": "fernet:" + "x" * 5000},
            {"url": "https://x", "org.odoo.sealed": "fernet:x"},
            [],
        ):
            self.assertFalse(self.ingest(self.event({**plain, "file": file})), file)

    def test_the_key_of_a_deleted_file_is_gone(self):
        event = self.sent()

        self.take(event, self.redaction_of(event))

        self.assertNotIn("fernet:", self.stored())

    def test_a_new_token_key_opens_the_files_that_wait(self):
        note = self.ingest(self.sent())
        other = Fernet.generate_key().decode()
        with patch.dict(os.environ, {tokens.KEY_VARIABLE: f"{other},{self.key}"}):
            self.env["matrix.backend"]._rotate_token_key()
        with patch.dict(os.environ, {tokens.KEY_VARIABLE: other}):
            self.env.invalidate_all()
            self.env["matrix.inbound"]._cron_fetch_files()

        self.assertEqual(note.attachment_ids.raw, PDF)

    def test_a_file_that_another_client_has_encrypted(self):
        """From the tests of Element's matrix-encrypt-attachment."""
        file = {
            "v": "v2",
            "key": {
                "alg": "A256CTR",
                "k": "__________________________________________8",
            },
            "iv": "//////////8AAAAAAAAAAA",
            "hashes": {"sha256": "YzF08lARDdOCzJpzuSwsjTNlQc4pHxpdHcXiD/wpK6k"},
        }
        ciphertext = bytes.fromhex("e712594ede5c422726fbd7f8")

        self.assertEqual(
            encrypted_file.decrypt(ciphertext, json.dumps(file)), b"Hello, World"
        )
