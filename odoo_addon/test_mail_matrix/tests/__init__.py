from . import test_business_first
from . import test_enqueue
from . import test_log_access
from . import test_manual
from . import test_requeue
