from . import mirror
from . import changes
from . import deliveries
