"""`python -m exporter` is the command `openai-usage-exporter`."""

import sys

from exporter.command_line import main

sys.exit(main())
