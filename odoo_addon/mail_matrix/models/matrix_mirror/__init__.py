from . import mirror
from . import changes
