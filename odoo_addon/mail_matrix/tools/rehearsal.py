from contextlib import closing, contextmanager

from odoo import api
from odoo.tools.misc import Callbacks


@contextmanager
def rehearsal(env):
    """Yield an environment that sees what ``env`` sees, and whose changes are undone:
    rows, values that wait in the cache to be written, and callbacks for the commit. Its
    records must not be used afterwards.
    """
    env.flush_all()
    cr = env.cr
    kept = cr.transaction, cr.precommit, cr.postcommit
    with closing(cr.savepoint(flush=False)):
        cr.transaction, cr.precommit, cr.postcommit = None, Callbacks(), Callbacks()
        try:
            yield api.Environment(cr, env.uid, env.context, env.su)
        finally:
            cr.transaction, cr.precommit, cr.postcommit = kept
