from . import test_legal_case
from . import test_security
