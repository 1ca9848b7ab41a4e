from contextlib import closing, contextmanager

from odoo import api
from odoo.tools.misc import Callbacks


@contextmanager
def rehearsal(env):
    """Yield an environment that sees what ``env`` does, and of which nothing is kept.

    Neither rows nor what stands in the cache to be written, nor what was put off until
    the commit. Records of it must not be used afterwards.
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
