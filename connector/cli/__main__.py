"""``python -m connector.cli`` is the command ``connector``."""

import sys

from connector.cli.main import main

sys.exit(main())
