from . import inbound
from . import record
from . import successor
from . import note
from . import files
from . import reaction
from . import replaced
from . import unreadable
