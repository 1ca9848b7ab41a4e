from . import test_enqueue
from . import test_manual
