from odoo import api, models
from odoo.tools import SQL

# If more records than this share one room, only the first ones can get answers.
_MAX_RECORDS = 100


class MatrixInbound(models.Model):
    """Finds the record that receives what is written in a room."""

    _inherit = "matrix.inbound"

    @api.model
    def _record_of(self, backend, event):
        """Return the record that receives ``event``, with all rights, or None.

        An event that refers to a delivery or a note goes to the record of that. Any
        other goes to the room's record that is marked to receive replies, or without
        such a mark to the first one.
        """
        records = self._records_of_room(backend, event.room_id)
        if not records:
            return None
        if len(records) > 1 and event.target:
            note = self._row_of(backend, event.target)
            about = note and (note.res_model, note.res_id)
            delivery = not note and self._delivery(records, event.target)
            if delivery:
                about = delivery["res_model"], delivery["res_id"]
            about = about or self._thread_record(records, event)
            for record in records:
                if (record._name, record.id) == about:
                    return record
        return records[0]

    @api.model
    def _records_of_room(self, backend, room_id):
        """Return the records that have this room, the one that receives replies
        first."""
        records = self._records_linked_to(backend, [room_id])
        # The room may have replaced that of records, which do not have it yet.
        records = records or self._records_before(backend, room_id)
        return sorted(
            records,
            key=lambda record: (
                not record.matrix_receives_replies,
                "active" in record._fields and not record.active,
                record._name,
                record.id,
            ),
        )

    @api.model
    def _records_linked_to(self, backend, room_ids):
        """Return the records of ``backend`` that have one of these rooms."""
        linked = self._records_with(room_ids)
        return [one for one in linked if one._matrix_backend() == backend]

    @api.model
    def _records_with(self, room_ids):
        records = []
        for name in self._room_models():
            model = self.env[name].sudo().with_context(active_test=False)
            records += model.search(
                [("matrix_room_id", "in", room_ids), ("matrix_enabled", "=", True)],
                order="id",
                limit=_MAX_RECORDS,
            )
        return records

    @api.model
    def _rooms_linked(self, rooms):
        """Return those of ``rooms`` that a record has, even if Matrix is off for it, or
        that are the default room of a backend."""
        found = set()
        fields = dict.fromkeys(self._room_models(), "matrix_room_id")
        for name, field in {**fields, "matrix.backend": "default_room_id"}.items():
            model = self.env[name].sudo().with_context(active_test=False)
            groups = model._read_group([(field, "in", list(rooms))], [field])
            found.update(room for (room,) in groups)
        return found

    @api.model
    def _room_models(self):
        names = self.env.registry.descendants(["matrix.thread.mixin"], "_inherit")
        return [name for name in sorted(names) if not self.env[name]._abstract]

    @api.model
    def _row_of(self, backend, event_id):
        """Return the row of an event that came in, or none."""
        return self.search(
            [("backend_id", "=", backend.id), ("event_id", "=", event_id)], limit=1
        )

    @api.model
    def _thread_record(self, records, event):
        """Return (model, id) of the record whose thread begins with the target of
        ``event``, or None. Threads outlive the log."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT t.res_model, t.res_id FROM matrix_thread AS t
                WHERE (t.res_model, t.res_id) IN (%s) AND t.room_id = %s
                    AND t.root_event_id = %s
                """,
                SQL(", ").join(SQL("%s", (one._name, one.id)) for one in records),
                event.room_id,
                event.target,
            )
        )
        return rows[0] if rows else None

    @api.model
    def _delivery(self, records, event_id):
        """Return the delivery of these records that became ``event_id``, or None.

        Searched by record, because the log has an index on that.
        """
        about = SQL(", ").join(SQL("%s", (one._name, one.id)) for one in records)
        rows = self.env.execute_query_dict(
            SQL(
                """
                SELECT l.res_model, l.res_id, l.txn_id, l.payload, l.event_type
                FROM matrix_log AS l
                WHERE (l.res_model, l.res_id) IN (%s)
                    AND l.matrix_event_id = %s AND l.status = 'ok'
                LIMIT 1
                """,
                about,
                event_id,
            )
        )
        return rows[0] if rows else None
