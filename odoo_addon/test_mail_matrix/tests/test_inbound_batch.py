import json
from datetime import timedelta, timezone

from odoo.tests import tagged

from odoo.addons.mail_matrix.tools import inbound

from .inbound import InboundCase


@tagged("post_install", "-at_install")
class TestBatch(InboundCase):
    """What is not a batch is refused with the right answer."""

    def test_what_is_not_a_batch_is_refused(self):
        many = json.dumps({"events": [{}] * 101}).encode()
        for body, status in (
            (b"", 400),
            (b"{", 400),
            (b"[]", 400),
            (b"{}", 400),
            (b'{"events": {}}', 400),
            (b'{"events": ["\xff"]}', 400),
            ('{"events": []}'.encode("utf-16"), 400),
            (b"[" * 100_000, 400),
            (many, 413),
        ):
            with self.assertRaises(inbound.BadBatch) as raised:
                inbound.read_batch(body)
            self.assertEqual(raised.exception.status, status, body[:30])

    def test_a_hundred_events_are_accepted(self):
        events = [self.text(f"Number {number}") for number in range(100)]

        notes = self.ingest(*events)

        self.assertEqual(len(notes), 100)
        self.assertIn("Number 0<", notes[0].body)
        self.assertIn("Number 99<", notes[-1].body)

    def test_unbelievable_times_are_replaced(self):
        for stamp in (None, "1", -1, True, 2**70, 10**15, 1.5):
            [*_, note] = self.ingest(self.text(origin_server_ts=stamp))
            self.assertEqual(note.date, self.env.cr.now(), stamp)

    def test_what_waited_for_odoo_keeps_its_own_time(self):
        written = self.env.cr.now() - timedelta(hours=1)
        stamp = int(written.replace(tzinfo=timezone.utc).timestamp() * 1000)

        note = self.ingest(self.text(origin_server_ts=stamp))

        self.assertAlmostEqual(note.date, written, delta=timedelta(seconds=1))
