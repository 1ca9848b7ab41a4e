from . import log
from . import hints
from . import reactions
from . import requeue
from . import retried
from . import retention
from . import overview
from . import overview_week
