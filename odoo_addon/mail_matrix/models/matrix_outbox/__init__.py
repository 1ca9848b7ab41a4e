from . import outbox
from . import text
from . import notes
from . import savepoints
from . import discard
