from . import test_business_first
from . import test_enqueue
from . import test_manual
