import logging
from datetime import timedelta
from textwrap import shorten

from markupsafe import Markup

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools import words
from ..tools.times import date_time_text

_logger = logging.getLogger(__name__)

# Older failures are not reported; they are in Logs.
_LOOKED_BACK = timedelta(days=1)
_BATCH = 200
_MAX_TEXT = 80
_ACTIVITY = "mail.mail_activity_data_warning"
_CRON = "mail_matrix.matrix_failure_notice_cron"
# These follow from something that somebody did in Odoo and saw there.
_NOT_REPORTED = (*words.NOT_FAILED, words.ERROR_DELETED, "org.odoo.nothing_to_change")


class BigInteger(fields.Integer):
    """An id of the log, which may exceed four bytes."""

    _column_type = ("int8", "int8")


class MatrixFailureNotice(models.Model):
    """A failed message that was reported to the person who caused it.

    The worker knows nothing of activities and mail: a scheduled action reads the log.
    """

    _name = "matrix.failure.notice"
    _description = "Notice of a Failed Matrix Message"
    _log_access = False
    _rec_name = "log_id"

    log_id = BigInteger(required=True, index=True)
    reported_at = fields.Datetime(required=True, index=True)
    activity_id = fields.Many2one("mail.activity", ondelete="set null", index=True)

    @api.model
    def _cron_report(self):
        """Report one batch of failures, and run again while there are more."""
        rows = self._read_unreported()
        messages = {}
        for row in rows:
            key = (row["user_id"], row["res_model"], row["res_id"])
            messages.setdefault(key, []).append(row)
        for (user_id, model, res_id), failed in messages.items():
            user = self.env["res.users"].browse(user_id)
            activity = None
            try:
                with self.env.cr.savepoint():
                    activity = self._notify(user, model, res_id, failed)
            except Exception as error:
                self.env["matrix.outbox"]._raise_if_to_run_again(error)
                # The others are still notified, and this one is not tried for ever.
                _logger.exception(
                    "Nobody was notified of failures of %s,%s", model, res_id
                )
            self.create(
                [
                    {
                        "log_id": row["id"],
                        "reported_at": self.env.cr.now(),
                        "activity_id": activity and activity.id,
                    }
                    for row in failed
                ]
            )
        if len(rows) == _BATCH:
            self.env.ref(_CRON)._trigger()

    @api.model
    def _read_unreported(self):
        self.env["res.users"].flush_model(["matrix_failure_notice", "active", "share"])
        self.flush_model(["log_id"])
        return self.env.execute_query_dict(
            SQL(
                """
                SELECT l.id, l.date, l.user_id, l.res_model, l.res_id, l.payload,
                    l.error_message
                FROM matrix_log AS l
                JOIN res_users AS u ON u.id = l.user_id AND u.active AND NOT u.share
                    AND COALESCE(u.matrix_failure_notice, 'activity') <> 'none'
                WHERE l.status = 'failed' AND l.is_final AND l.date > %(since)s
                    AND COALESCE(l.error_code, '') NOT IN %(not_reported)s
                    AND NOT EXISTS (
                        SELECT FROM matrix_failure_notice AS n WHERE n.log_id = l.id
                    )
                    AND NOT EXISTS (
                        SELECT FROM matrix_requeue AS q WHERE q.log_id = l.id
                    )
                ORDER BY l.date, l.id
                LIMIT %(batch)s
                """,
                since=self.env.cr.now() - _LOOKED_BACK,
                not_reported=_NOT_REPORTED,
                batch=_BATCH,
            )
        )

    @api.model
    def _notify(self, user, model, res_id, failed):
        """Notify ``user`` of what failed as they prefer; return the activity, if it is
        one.

        A user who may not read the record (any more) is not notified.
        """
        if not user.has_group("mail_matrix.group_matrix_user"):
            return None
        record = self._record_for(user, model, res_id)
        if res_id and record is None:
            return None
        notices = self.with_context(lang=user.lang)
        wants_activity = user.matrix_failure_notice != "notification"
        if wants_activity and hasattr(record, "activity_schedule"):
            return notices._schedule(record, user, failed)
        self.env["mail.thread"].with_context(lang=user.lang).message_notify(
            partner_ids=user.partner_id.ids,
            subject=notices._title(failed),
            body=notices._body(failed),
            author_id=self.env.ref("base.partner_root").id,
            model=record is not None and model,
            res_id=record is not None and res_id,
        )
        return None

    @api.model
    def _record_for(self, user, model, res_id):
        """Return the record, with all rights, if ``user`` may read it."""
        if not res_id or model not in self.env:
            return None
        record = self.env[model].browse(res_id).exists()
        readable = record and record.with_user(user).has_access("read")
        return record if readable else None

    @api.model
    def _schedule(self, record, user, failed):
        """Return the activity of ``user`` on this record: only one for all failures.

        It contains neither texts nor reasons: everybody who may read the record sees
        it, Matrix User or not.
        """
        kind = self.env.ref(_ACTIVITY)
        notice = self.search(
            [
                ("activity_id.res_model", "=", record._name),
                ("activity_id.res_id", "=", record.id),
                ("activity_id.user_id", "=", user.id),
                ("activity_id.active", "=", True),
            ],
            limit=1,
        )
        if notice:
            return notice.activity_id
        # It is shown in the systray; an e-mail for each would be too much.
        record = record.with_context(
            mail_activity_quick_update=True, matrix_failure=True
        )
        return record.activity_schedule(
            activity_type_id=kind.id,
            summary=self._count(failed),
            note=self._where_to_look(failed, user.tz),
            user_id=user.id,
        )

    @api.model
    def _count(self, failed):
        if len(failed) == 1:
            return self.env._("A message was not sent to Matrix")
        return self.env._("%(count)s messages not sent to Matrix", count=len(failed))

    @api.model
    def _where_to_look(self, failed, tz):
        return self.env._(
            "Failed on %(time)s. The page Matrix of the record says why and what to "
            "do.",
            time=date_time_text(self.env, failed[0]["date"], tz),
        )

    @api.model
    def _title(self, failed):
        if len(failed) > 1:
            return self._count(failed)
        text = shorten(failed[0]["payload"] or "", _MAX_TEXT, placeholder="…")
        return self.env._("Not sent to Matrix: %(text)s", text=text)

    @api.model
    def _body(self, failed):
        lines = {row["error_message"] or "" for row in failed}
        advice = self.env._("The page Matrix of the record, or Logs, says what to do.")
        return Markup("<br/>").join([*sorted(filter(None, lines)), advice])

    @api.model
    def _settle(self, log_ids):
        """Close the activities whose failed messages are all queued again."""
        notices = self.sudo()
        activities = notices.search([("log_id", "in", list(log_ids))]).activity_id
        related = notices.search([("activity_id", "in", activities.ids)])
        requeued = (
            self.env["matrix.log"].browse(related.mapped("log_id"))._requeued_ids()
        )
        left = related.filtered(lambda notice: notice.log_id not in requeued)
        (activities - left.activity_id).unlink()

    @api.autovacuum
    def _gc_notices(self):
        """Delete notices of failures that are too old to be reported again."""
        self.env.cr.execute(
            SQL(
                "DELETE FROM matrix_failure_notice "
                "WHERE reported_at < %s AND activity_id IS NULL",
                self.env.cr.now() - 2 * _LOOKED_BACK,
            )
        )
