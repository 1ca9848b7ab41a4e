from collections import Counter
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import format_date

from ...tools import words
from ..matrix_backend.health import COUNT_AT_MOST, count_text

_HOURS = 24
_HELD_SHOWN = 5


class MatrixLog(models.Model):
    """What the Overview shows above its graph."""

    _inherit = "matrix.log"

    @api.model
    def get_overview(self):
        """Return what the Overview shows as a dict, with counts as texts.

        ``sent`` and ``failed`` count what this user may read of the last day.
        ``waiting``, ``oldest_queued_at``, ``waiting_by``, ``troubles`` (of backends),
        ``held`` (rooms and people that receive nothing), ``held_beyond`` (how many
        more of them there are) and ``roomless`` (records whose room cannot be created)
        are for managers, False for others.
        """
        self.check_access("read")
        since = self.env.cr.now() - timedelta(hours=_HOURS)
        overview = {
            "sent": count_text(self.env, self._count_final("ok", since)),
            "failed": count_text(self.env, self._count_final("failed", since)),
            "waiting": False,
            "oldest_queued_at": False,
            "waiting_by": False,
            "troubles": False,
            "held": False,
            "held_beyond": False,
            "roomless": False,
            "is_worker_missing": self._is_worker_missing(),
        }
        if self.env.user.has_group("mail_matrix.group_matrix_manager"):
            overview.update(self._overview_of_backends())
        return overview

    @api.model
    def _is_worker_missing(self):
        """Whether messages could be waiting because no worker is running."""
        # With all rights: if nothing is sent, that concerns users of all companies.
        active = (
            self.env["matrix.backend"]
            .sudo()
            .search_count([("is_active", "=", True)], limit=1)
        )
        return bool(active) and self.env["matrix.worker"]._all_silent()

    @api.model
    def _overview_of_backends(self):
        backends = self.env["matrix.backend"].search([], limit=100)
        managed = backends._in_charge()
        # Of a backend that they share with other companies, managers see what is
        # theirs.
        is_all = managed == backends
        queues = self._queues_of(managed) if is_all else self._readable_queue()
        waiting = sum(
            queue.search_count(domain, limit=COUNT_AT_MOST + 1)
            for queue, domain in queues
        )
        oldest = [
            message.queued_at
            for queue, domain in queues
            for message in queue.search(domain, limit=1, order="id")
        ]
        lanes = self.env["matrix.lane"]
        held, count = (
            lanes._held_in(managed, _HELD_SHOWN)
            if is_all
            else lanes._held_of(self._lanes_in(queues), _HELD_SHOWN)
        )
        return {
            "held": [self._overview_of_lane(trouble) for trouble in held],
            "held_beyond": max(0, count - len(held)),
            "waiting": count_text(self.env, waiting),
            "roomless": self._overview_of_roomless(backends, is_all),
            "oldest_queued_at": bool(oldest) and fields.Datetime.to_string(min(oldest)),
            "waiting_by": self._waiting_by_day_and_event(queues),
            "troubles": [
                {
                    "id": backend.id,
                    "name": backend.name,
                    "state": backend.state,
                    "note": backend.state_note,
                }
                for backend in backends.filtered(
                    lambda backend: (
                        backend.state_note
                        and (backend.is_active or backend.is_stranded)
                    )
                )
            ],
        }

    @api.model
    def _overview_of_lane(self, trouble):
        """Name the record of a lane's first message, if this user may read it."""
        model, res_id = trouble["res_model"], trouble["res_id"]
        record = None
        if res_id and self._readable_ids(model, [res_id]):
            record = self.env[model].browse(res_id)
        return {
            "lane": trouble["lane"],
            "name": record.display_name if record else trouble["target"],
            "note": trouble["note"],
            "error": trouble["error"],
            "res_model": record and model,
            "res_id": record and res_id,
        }

    @api.model
    def _queues_of(self, backends):
        """Return where messages wait, as pairs of model and domain: for the worker, and
        for a room that is being created."""
        # With all rights: nobody else reads them, and managers may know of all that
        # wait for their backends.
        early = self.env["matrix.early.message"].sudo()
        return [
            (self.env["matrix.outbox"], []),
            (early, [("backend_id", "in", backends.ids)]),
        ]

    @api.model
    def _readable_queue(self):
        """Return the same as _queues_of, but only with what this manager may read."""
        return [(self.env["matrix.message"], [("waiting_id", ">", 0)])]

    @api.model
    def _lanes_in(self, queues):
        return [
            lane
            for queue, domain in queues
            for (lane,) in queue._read_group(domain, ["lane"])
        ]

    @api.model
    def _overview_of_roomless(self, backends, is_all):
        """Name the records whose messages wait because no room can be created, and
        those among them that this user may read.

        :param bool is_all: count also the records of other companies
        """
        troubles = self.env["matrix.room.request"]._troubles_of(
            backends,
            None if is_all else lambda model, ids: self._managed_ids(model, ids)[0],
        )
        return [
            {
                "text": text,
                "res_model": model,
                "res_ids": self._readable_ids(model, res_ids),
            }
            for model, res_ids, text in troubles
        ]

    @api.model
    def _waiting_by_day_and_event(self, queues):
        """Return day, event and count of the waiting messages, as texts."""
        outbox = self.env["matrix.outbox"]
        groups = Counter()
        for queue, domain in queues:
            bounded = queue._search(domain, limit=COUNT_AT_MOST, order="id")
            for day, event, count in queue._read_group(
                [("id", "in", bounded)], ["queued_at:day", "event_type"], ["__count"]
            ):
                groups[day, event] += count
        events = dict(outbox._fields["event_type"]._description_selection(self.env))
        return [
            {
                "day": format_date(self.env, day),
                "event": events.get(event, event),
                "count": count_text(self.env, count),
            }
            for (day, event), count in sorted(groups.items())
        ]

    @api.model
    def _count_final(self, status, since, until=None):
        """Return how many messages ended like this, among those that this user may
        read; counting stops at COUNT_AT_MOST + 1."""
        logs, domain = self, [("status", "=", status), ("date", ">=", since)]
        domain += [
            ("is_final", "=", True),
            ("error_code", "not in", words.NOT_FAILED),
        ]
        if until:
            domain.append(("date", "<", until))
        backends = self.env["matrix.backend"]
        is_manager = self.env.user.has_group("mail_matrix.group_matrix_manager")
        if is_manager and backends._is_for_all_companies():
            # With all rights: access checks read all rows of that time, and these
            # managers may read all rows of the backends that they may read.
            domain.append(("backend_id", "in", backends._in_charge().ids))
            logs = self.sudo()
        return logs.search_count(domain, limit=COUNT_AT_MOST + 1)
