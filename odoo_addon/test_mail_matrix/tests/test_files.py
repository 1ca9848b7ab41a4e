import base64
import hmac
import time
from contextlib import suppress

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, HttpCase, tagged

from .common import ROOM, TicketCase

PDF = b"%PDF-1.4 \x00\xff not text"


class FilesCase(TicketCase):
    """A ticket whose chatter is posted in its room, files included."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user.name = "Ann"
        cls.ticket.matrix_mirror_chatter = True
        cls.backend.write({"send_files": True, "personal_access_token": "syt_secret"})

    def file(self, name="offer.pdf", raw=PDF, **values):
        values = {"name": name, "datas": base64.b64encode(raw), **values}
        return self.as_user(self.env["ir.attachment"]).create(values)

    def post(self, body="Look", files=()):
        message = self.as_user(self.ticket).message_post(
            body=body,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            attachment_ids=[file.id for file in files],
        )
        self.commit()
        return message

    def rows(self):
        return [
            (row["content"].get("body"), row["attachment_id"]) for row in self.outbox()
        ]


@tagged("post_install", "-at_install")
class TestFiles(FilesCase):
    """Files follow the text of their message, each as a message of its own."""

    def test_the_files_of_a_message_follow_its_text_in_their_order(self):
        first, second = self.file(), self.file("photo.png", b"\x89PNG\r\n\x1a\n")

        self.post(files=[second, first])

        self.assertEqual(
            self.rows(),
            [
                ("Ann: Look\n📎 offer.pdf\n📎 photo.png", None),
                ("offer.pdf", first.id),
                ("photo.png", second.id),
            ],
        )
        text, file, _photo = self.outbox()
        self.assertEqual(file["room_id"], ROOM)
        self.assertEqual(file["content"]["info"]["size"], len(PDF))
        self.assertEqual(file["content"]["info"]["mimetype"], "application/pdf")
        self.assertEqual(file["content"]["org.odoo.outbox"], file["txn_id"])
        self.assertNotEqual(file["txn_id"], text["txn_id"])

    def test_no_file_goes_out_where_the_backend_sends_none(self):
        self.backend.send_files = False

        self.post(files=[self.file()])

        self.assertEqual(self.rows(), [("Ann: Look\n📎 offer.pdf", None)])

    def test_a_link_among_the_files_is_in_the_text_only(self):
        link = self.file("link", type="url", url="https://example.org", datas=False)

        self.post(files=[link])

        self.assertEqual(self.rows(), [("Ann: Look\n📎 link", None)])

    def test_a_file_carries_the_consent_of_its_record(self):
        self.ticket.matrix_send_unencrypted = True

        self.post(files=[self.file()])

        self.assertTrue(
            all(row["content"]["org.odoo.unencrypted"] for row in self.outbox())
        )

    # What becomes of them.

    def test_a_file_that_is_removed_before_it_left_does_not_leave(self):
        file = self.file()
        self.post(files=[file])

        file.sudo().unlink()
        self.commit()

        self.assertEqual(self.rows(), [("Ann: Look", None)])

    def test_a_file_that_is_removed_after_it_left_is_redacted(self):
        file = self.file()
        self.post(files=[file])
        sent = self.outbox()[1]
        self.log_all()

        file.sudo().unlink()
        self.commit()

        changes = [row["content"].get("org.odoo.changes") for row in self.outbox()]
        self.assertIn(sent["txn_id"], changes)

    def test_what_was_tried_leaves_without_its_file(self):
        message = self.post(files=[self.file()])
        file = self.outbox()[1]
        self.env.cr.execute(
            "INSERT INTO matrix_lane (lane, head_id) VALUES (%s, 1)", [file["lane"]]
        )

        message.sudo().unlink()
        self.commit()

        rows = {row["txn_id"]: row for row in self.outbox()}
        self.assertEqual(rows[file["txn_id"]]["content"]["body"], "(deleted)")
        self.assertFalse(rows[file["txn_id"]]["attachment_id"])

    def test_a_file_that_is_added_later_is_sent_then(self):
        message = self.post(files=[self.file()])
        self.log_all()
        added = self.file("late.pdf")

        message.sudo().write({"attachment_ids": [Command.link(added.id)]})
        self.commit()

        edit, file = self.rows()
        self.assertIn("late.pdf", edit[0])
        self.assertEqual(file, ("late.pdf", added.id))

    def test_files_from_before_they_were_sent_stay_in_odoo(self):
        self.backend.send_files = False
        old, file = self.post(files=[self.file()]), self.file("noted.pdf")
        recent = self.post("Frist", files=[file])
        self.log_all()
        # As after the upgrade that began to remember them.
        mirrors = self.env["matrix.mirror"].search([("message_id", "=", old.id)])
        mirrors.known_files = False
        self.backend.send_files = True

        for message in (old, recent):
            message.sudo().body = "First"
            self.commit()

        self.assertEqual([file_id for _body, file_id in self.rows()], [None, None])
        for message in (old, recent):
            self.clear_outbox()
            added = self.file("late.pdf")
            message.sudo().write({"attachment_ids": [Command.link(added.id)]})
            self.commit()
            self.assertEqual(self.rows()[1:], [("late.pdf", added.id)])

    def test_a_backend_that_is_created_in_the_form_has_its_addresses(self):
        form = Form(self.env["matrix.backend"].with_user(self.manager))
        form.name, form.homeserver_url = "New", "https://matrix.example.org"
        form.send_files, form.inbound_mode = True, "follow"
        backend = form.save()

        for name, path in (("files_url", "files"), ("inbound_url", "inbound")):
            default = f"{backend.get_base_url()}/mail_matrix/{path}/{backend.id}"
            self.assertEqual(backend[name], default)
            backend[name] = "https://proxy.example.org/odoo"
            backend.flush_recordset()
            self.assertEqual(backend[name], "https://proxy.example.org/odoo")
            backend[name] = False
            backend.flush_recordset()
            self.assertEqual(backend[name], default)

    def test_retry_of_a_file_keeps_what_it_is(self):
        file = self.file()
        self.post(files=[file])
        text, row = self.outbox()
        self.log(text, status="ok")
        failed = self.log(row, error_code="org.odoo.file")

        failed.with_user(self.manager).action_retry()

        (again,) = self.outbox()
        self.assertEqual(
            (again["txn_id"], again["attachment_id"]), (row["txn_id"], file.id)
        )

    # The composer.

    def compose(self, body, *files):
        action = self.as_user(self.ticket).action_matrix_compose()
        composers = self.env["matrix.composer"].with_user(self.user)
        form = Form(composers.with_context(**action["context"]))
        form.body = body
        for file in files:
            form.attachment_ids.add(file)
        return form.save()

    def test_the_composer_sends_files_which_are_the_records_then(self):
        file = self.file(res_model="matrix.composer", res_id=0)

        self.compose("Here it is", file).action_send()

        self.assertEqual(self.rows(), [("Here it is", None), ("offer.pdf", file.id)])
        self.assertEqual(
            (file.res_model, file.res_id), (self.ticket._name, self.ticket.id)
        )

    def test_the_composer_sends_a_file_without_a_text(self):
        self.backend.sign_messages = True
        file = self.file()

        self.compose("", file).action_send()

        self.assertEqual(
            self.rows(), [("Ann: 📎 offer.pdf", None), ("offer.pdf", file.id)]
        )

    def test_nobody_sends_what_he_may_not_read(self):
        secret = self.env["ir.attachment"].create({"name": "x", "raw": b"secret"})
        composer = self.compose("Here")
        composer.sudo().attachment_ids = secret

        # Odoo 19 hides it from him, Odoo 18 refuses.
        with suppress(AccessError):
            composer.action_send()

        sent = [row["attachment_id"] for row in self.outbox()]
        self.assertNotIn(secret.id, sent)

    def test_without_text_and_file_there_is_nothing_to_send(self):
        composer = self.compose("Here")
        composer.body = False

        with self.assertRaises(UserError):
            composer.action_send()


@tagged("post_install", "-at_install")
class TestFilesDoor(HttpCase, FilesCase):
    """The worker fetches one file that waits, with a proof that opens no other."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.attachment = cls.env["ir.attachment"].create(
            {"name": "offer.pdf", "raw": PDF}
        )
        values = cls.ticket._matrix_row_values(cls.backend, ROOM)
        outbox = cls.env["matrix.outbox"]
        rows = outbox._file_rows(cls.backend, "manual", values, cls.attachment)
        outbox._insert_rows(rows)
        cls.commit()
        cls.txn_id = rows[0]["txn_id"]

    def proof(self, txn_id=None, seconds=60, key="syt_secret", backend_id=None):
        until = int(time.time()) + seconds
        text = f"org.odoo.file {backend_id or self.backend.id} {txn_id or self.txn_id}"
        signed = hmac.new(key.encode(), f"{text} {until}".encode(), "sha256")
        return f"{until}.{signed.hexdigest()}"

    def fetch(self, proof, txn_id=None, **headers):
        url = f"{self.backend.files_url}/{txn_id or self.txn_id}"
        url = self.base_url() + url[url.index("/mail_matrix/") :]
        headers = {"Authorization": f"Bearer {proof}", **headers}
        return self.opener.get(url, headers=headers, timeout=60)

    def test_the_worker_gets_the_file_byte_for_byte(self):
        answer = self.fetch(self.proof())

        self.assertEqual((answer.status_code, answer.content), (200, PDF))
        self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_only_the_proof_for_this_file_and_this_minute_opens_it(self):
        until, _dot, signature = self.proof().partition(".")
        for proof in (
            self.proof(txn_id="other"),
            self.proof(seconds=-1),
            self.proof(seconds=300),
            self.proof(key="wrong"),
            self.proof(backend_id=self.backend.id + 1),
            f"{int(until) + 1}.{signature}",
            until,
            f"{until}.",
            f".{signature}",
            f"{'9' * 400}.{signature}",
            "²³.x",
            "syt_secret",
        ):
            answer = self.fetch(proof.encode().decode("latin-1"))
            self.assertEqual(answer.status_code, 403, proof)
            self.assertNotIn(b"PDF", answer.content)
            self.assertNotIn("syt_secret", answer.text)
        self.assertEqual(self.fetch("", Authorization="").status_code, 401)

    def test_a_file_is_given_only_while_its_message_waits(self):
        self.clear_outbox()

        self.assertEqual(self.fetch(self.proof()).status_code, 404)

    def test_no_file_is_given_where_the_backend_sends_none(self):
        for values in ({"send_files": False}, {"is_active": False}):
            with self.subTest(values):
                self.backend.write({"send_files": True, "is_active": True})
                url = self.backend.files_url
                self.assertTrue(url)
                self.backend.write(values)
                proof = self.proof()
                path = url[url.index("/mail_matrix/") :]
                answer = self.opener.get(
                    f"{self.base_url()}{path}/{self.txn_id}",
                    headers={"Authorization": f"Bearer {proof}"},
                    timeout=60,
                )
                self.assertEqual(answer.status_code, 404)

    def test_a_file_that_is_gone_is_not_given(self):
        self.attachment.unlink()

        self.assertEqual(self.fetch(self.proof()).status_code, 404)
