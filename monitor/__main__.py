"""`python -m monitor` is the same as `monitor`."""

import sys

from monitor.cli.main import main

sys.exit(main())
