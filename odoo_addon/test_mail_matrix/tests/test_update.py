from odoo.tests import TransactionCase, tagged

# These modes hold up whoever writes; the last one readers, too.
_LOCKS = """
    SELECT DISTINCT relation::regclass::text FROM pg_locks
    WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    ) AND relation NOT IN (
        SELECT oid FROM pg_class WHERE relpersistence = 't'
    )
"""


@tagged("post_install", "-at_install")
class TestUpdate(TransactionCase):
    """An update stays open for minutes; users save records meanwhile."""

    def test_an_update_that_changes_nothing_locks_no_table(self):
        for module in ("mail_matrix", "legal_case", "legal_case_matrix"):
            models = [
                name
                for name, model in self.env.registry.items()
                if module in [getattr(base, "_module", None) for base in model.mro()]
            ]
            self.assertTrue(models)
            self.env.registry.init_models(self.env.cr, models, {"module": module})
        self.env.cr.execute(_LOCKS)

        self.assertEqual(self.env.cr.fetchall(), [])
