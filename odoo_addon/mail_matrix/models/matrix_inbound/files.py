from datetime import timedelta

from odoo import SUPERUSER_ID, Command, api, fields, models
from odoo.exceptions import UserError
from odoo.tools.mimetypes import guess_mimetype

from ...tools import encrypted_file
from ...tools import token as tokens
from ...tools.inbound import FILE_TYPES
from ...tools.matrix_error import MatrixError

_CRON = "mail_matrix.matrix_inbound_cron_files"
# Seconds for one file in all, and without a byte of it.
_TIMEOUTS = {"total_timeout": 120, "read_timeout": 20}
# How long the homeserver may be down, and the longest pause before it is asked again.
_GIVE_UP_AFTER = timedelta(days=1)
_LONGEST_PAUSE = timedelta(hours=1)
# The pause of the other files from a homeserver that did not answer for one.
_OTHERS_PAUSE = timedelta(minutes=1)


class MatrixInbound(models.Model):
    """A scheduled action attaches a file from a room to its note, at once.

    The sender of events does not wait for files, and no transaction that processes
    messages waits for the homeserver.
    """

    _inherit = "matrix.inbound"

    file_uri = fields.Char(string="Address of the File", readonly=True)
    # Key and checksum of an encrypted file, until it is attached.
    file_sealed = fields.Char(
        string="Sealed Key", readonly=True, groups=fields.NO_ACCESS
    )
    file_name = fields.Char(string="File", readonly=True)
    file_state = fields.Selection(
        [
            ("waiting", "Waiting"),
            ("attached", "Attached"),
            ("refused", "Not taken over"),
        ],
        string="File Status",
        readonly=True,
        index="btree_not_null",
    )
    file_note = fields.Char(string="About the File", readonly=True)
    file_try_at = fields.Datetime(readonly=True)

    def _follow_message(self, record, event):
        result = super()._follow_message(record, event)
        if not event.file:
            return result
        self.write(
            {
                "file_uri": event.file.uri,
                "file_sealed": event.file.sealed,
                "file_name": event.file.name,
                "file_state": "waiting",
                "file_try_at": self.env.cr.now(),
            }
        )
        reason = self._too_large(event.file.size)
        if reason:
            self._refuse_file(reason)
        else:
            self.env.ref(_CRON)._trigger()
        return result

    def _too_large(self, size):
        """Return why a file of ``size`` bytes is not fetched, or None."""
        most = self.backend_id.sudo().inbound_file_mb
        if not most:
            return self.env._("files from rooms are turned off")
        if size > most * 2**20:
            return self.env._("it is larger than %(most)s MB", most=most)
        return None

    @api.model
    def _cron_fetch_files(self):
        """Attach the file that has waited longest, and say whether more wait."""
        rows = self.with_user(SUPERUSER_ID)
        domain = [("file_state", "=", "waiting")]
        now = self.env.cr.now()
        due = rows.search(
            [*domain, ("file_try_at", "<=", now)], order="file_try_at, id", limit=2
        )
        for row in due[:1]:
            try:
                with self.env.cr.savepoint():
                    row._fetch_file()
            except Exception as error:
                self.env["matrix.outbox"]._raise_if_to_run_again(error)
                # Others wait behind it.
                row._refuse_file(type(error).__name__)
        domain.append(("file_try_at", ">", now))
        later = rows.search(domain, order="file_try_at", limit=1)
        if later:
            self.env.ref(_CRON)._trigger(later.file_try_at)
        self.env["ir.cron"]._matrix_tell(len(due[:1]), len(due[1:]))

    def _fetch_file(self):
        message = self._message()
        if self.is_redacted or not message:
            self.write({"file_state": False, "file_sealed": False})
            return
        backend = self.backend_id.sudo()
        reason = self._too_large(0)
        try:
            if not reason:
                most = backend.inbound_file_mb * 2**20
                client = backend._client(max_answer_bytes=most, **_TIMEOUTS)
                content = client.download(self.file_uri)
                reason = self._attach(message, self._decrypted(content))
        except (tokens.SealError, tokens.BadKeyError):
            reason = self.env._(
                "no key in odoo.conf opens what the worker has sealed: both need the "
                "same matrix_token_key"
            )
        except encrypted_file.BadKeyError:
            reason = self.env._("its key in the message cannot be used")
        except encrypted_file.WrongFileError:
            reason = self.env._(
                "the file on the homeserver is not the one that was sent: its checksum "
                "is wrong"
            )
        except UserError as error:
            reason = self._postpone(error)
            if not reason:
                return
        if reason:
            self._refuse_file(reason)

    def _postpone(self, error):
        """Try again later, unless that would not help: then return why."""
        is_refusal = isinstance(error, MatrixError) and (
            error.is_too_large or error.errcode in ("M_NOT_FOUND", "M_FORBIDDEN")
        )
        age = self.env.cr.now() - self.received_at
        if is_refusal or age > _GIVE_UP_AFTER:
            return str(error)
        pause = min(max(age, timedelta(seconds=10)), _LONGEST_PAUSE)
        now = self.env.cr.now()
        self.write({"file_try_at": now + pause, "file_note": str(error)})
        # The backend's other files might get the same answer, each after a timeout, and
        # those of other backends would wait for that.
        others_at = now + min(pause, _OTHERS_PAUSE) - timedelta(seconds=1)
        self._due_of_backend().write({"file_try_at": others_at})
        return None

    def _due_of_backend(self):
        """Return the rows whose files could be fetched now from the same homeserver."""
        return self.search(
            [
                ("backend_id", "=", self.backend_id.id),
                ("file_state", "=", "waiting"),
                ("file_try_at", "<=", self.env.cr.now()),
            ]
        )

    def _decrypted(self, content):
        """Return the bytes of the file. Raises the errors of tools.encrypted_file."""
        if not self.file_sealed:
            return content
        return encrypted_file.decrypt(content, tokens.unseal(self.file_sealed))

    def _attach(self, message, content):
        """Attach the file to its note, or return why not.

        Its type is taken from its bytes, because the sender may call it anything.
        """
        mimetype = guess_mimetype(content, default="application/octet-stream")
        if not content or mimetype not in FILE_TYPES:
            return self.env._("files of this type (%s) are not accepted", mimetype)
        record = self.env[self.res_model].browse(self.res_id)
        author = self._as_author(record, self.sender)
        # Odoo would shrink large pictures.
        attachments = author.env["ir.attachment"].with_context(
            image_no_postprocess=True
        )
        attachment = attachments.create(
            {
                "name": self.file_name,
                "raw": content,
                "mimetype": mimetype,
                "res_model": self.res_model,
                "res_id": self.res_id,
            }
        )
        message = message.with_env(author.env)
        message.attachment_ids = [Command.link(attachment.id)]
        self.write({"file_state": "attached", "file_note": False, "file_sealed": False})
        return None

    def _refuse_file(self, reason):
        self.write({"file_state": "refused", "file_note": reason, "file_sealed": False})
