from . import lane
from . import held
