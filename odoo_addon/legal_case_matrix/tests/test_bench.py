"""How much longer a person waits in Odoo because of Matrix.

Not part of the ordinary tests, because it measures time:
``odoo-bin -d … -i legal_case_matrix --test-tags matrix_bench``.
"""

import logging
from statistics import median
from time import perf_counter

from odoo.tests import tagged
from odoo.tools import SQL

from .common import LegalMatrixCase

_logger = logging.getLogger(__name__)

ROUNDS = 200
BATCH = 500
BATCH_ROUNDS = 9
# Milliseconds that may be added.
MAX_ADDED = 2
MAX_ADDED_BATCH = 150
FLAGS = ("notify_case_created", "notify_stage_changed")


@tagged("post_install", "-at_install", "-standard", "matrix_bench")
class TestBench(LegalMatrixCase):
    """How much longer work takes with the backend's flags on than with them off.

    Both are taken in turns, so that what slows the machine down slows both down; the
    figure is the median of the differences.
    """

    def commit_costs(self):
        """Do what a commit does: the collector, and the trigger that wakes workers."""
        self.env.cr.flush()
        self.env.cr.execute(
            "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"
        )

    def milliseconds(self, work):
        start = perf_counter()
        work()
        self.commit_costs()
        return 1000 * (perf_counter() - start)

    def added(self, what, rounds, prepare):
        """Return the milliseconds that Matrix adds to ``prepare()()``."""
        taken = {False: [], True: []}
        for number in range(rounds + 5):
            for is_on in (False, True):
                self.switch_events(is_on)
                work = prepare()
                self.commit()
                self.clear_outbox()
                self.env.invalidate_all()
                took = self.milliseconds(work)
                if number >= 5:  # the first ones fill caches
                    taken[is_on].append(took)
        pairs = zip(taken[False], taken[True], strict=True)
        added = median(on - off for off, on in pairs)
        _logger.info(
            "%s: %.2f ms, Matrix adds %.2f ms (median of %s)",
            what,
            median(taken[False]),
            added,
            rounds,
        )
        return added

    def switch_events(self, is_on):
        # Not by the ORM: it would clear caches that are warm in a server that works.
        flags = [SQL("%s = %s", SQL.identifier(flag), is_on) for flag in FLAGS]
        self.env.cr.execute(SQL("UPDATE matrix_backend SET %s", SQL(", ").join(flags)))
        self.backend.invalidate_recordset()

    def as_lawyer(self, cases):
        return cases.with_user(self.lawyer)

    def stage_change_of(self, cases):
        def prepare():
            stage = self.stages - cases[0].stage_id
            return lambda: self.as_lawyer(cases).write({"stage_id": stage[0].id})

        return prepare

    def test_a_new_case(self):
        def prepare():
            return lambda: self.create_case(name="Ida v. Rest")

        added = self.added("New case", ROUNDS, prepare)

        self.assertEqual(self.bodies(), ["Case Ida v. Rest created for Ida Client"])
        self.assertLess(added, MAX_ADDED)

    def test_a_stage_change(self):
        added = self.added("Stage change", ROUNDS, self.stage_change_of(self.case))

        self.assertEqual(len(self.bodies()), 1)
        self.assertLess(added, MAX_ADDED)

    def test_a_mass_edit(self):
        values = {"name": "Case", "partner_id": self.partner.id}
        cases = self.case.create(
            [{**values, "matrix_room_id": f"!{n}:example.org"} for n in range(BATCH)]
        )

        added = self.added(
            f"Stage change of {BATCH} cases", BATCH_ROUNDS, self.stage_change_of(cases)
        )

        self.assertEqual(len(self.bodies()), BATCH)
        self.assertLess(added, MAX_ADDED_BATCH)
