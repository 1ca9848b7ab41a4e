from . import mirror
from . import changes
from . import requeued
from . import retention
from . import deliveries
