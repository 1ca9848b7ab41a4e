from odoo import api, fields, models


class MatrixSubject(models.Model):
    """The record that a message is about, if a reaction may mark its activity as done.

    The outbox and the log name the record with the room only. The ids are not foreign
    keys, because records may be deleted before anybody reacts.
    """

    _name = "matrix.subject"
    _description = "Subject of a Matrix Message"
    _log_access = False
    _rec_name = "txn_id"

    txn_id = fields.Char(string="Transaction ID", required=True, index=True)
    res_model = fields.Char(string="Record Model", required=True)
    res_id = fields.Many2oneReference(
        string="Record ID", model_field="res_model", required=True
    )
    queued_at = fields.Datetime(string="Queued", required=True, index=True)

    @api.model
    def _remember(self, rows):
        """Remember the subjects of the outbox rows that have one."""
        self.sudo().create(
            [
                {
                    "txn_id": row["txn_id"],
                    "res_model": row["subject"]._name,
                    "res_id": row["subject"].id,
                    "queued_at": row["queued_at"],
                }
                for row in rows
                if row.get("subject")
            ]
        )

    @api.model
    def _follow_requeued(self, requeued):
        """See matrix.mirror."""
        new = {failed.txn_id: row["txn_id"] for failed, row in requeued}
        for subject in self.sudo().search([("txn_id", "in", list(new))]):
            subject.txn_id = new[subject.txn_id]

    @api.model
    def _activity_of(self, txn_id, user):
        """Return the activity of ``user`` that the message is about, or none.

        If the message is about another record, that is the only one that this user has
        there: with several, it would be unclear which one is meant.
        """
        activities = self.env["mail.activity"].with_user(user)
        subject = self.sudo().search([("txn_id", "=", txn_id)], limit=1)
        if not subject:
            return activities
        if subject.res_model == "mail.activity":
            about = [("id", "=", subject.res_id)]
        else:
            about = [("res_model", "=", subject.res_model)]
            about += [("res_id", "=", subject.res_id)]
        found = activities.search([*about, ("user_id", "=", user.id)], limit=2)
        return found if len(found) == 1 else activities

    @api.autovacuum
    def _gc_subjects(self):
        """Delete rows older than the log, without which no reaction finds them."""
        self.env["matrix.log"]._delete_older_than_log(self._name, "queued_at")
