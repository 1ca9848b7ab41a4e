from . import test_bench
from . import test_browser
from . import test_events
from . import test_invite
from . import test_log_case
from . import test_room
from . import test_translation
from . import test_views
