from . import test_backend
from . import test_connection
from . import test_content
from . import test_health
from . import test_matrix_client
from . import test_overview
from . import test_token
from . import test_users
