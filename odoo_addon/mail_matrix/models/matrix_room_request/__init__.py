from . import request
from . import work
