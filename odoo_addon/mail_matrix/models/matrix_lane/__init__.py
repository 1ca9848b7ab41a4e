from . import lane
from . import held
from . import replaced
