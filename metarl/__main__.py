"""`python -m metarl`."""

import sys

from metarl.cli.command_line import main

sys.exit(main())
