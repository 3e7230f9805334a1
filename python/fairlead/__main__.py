"""`python -m fairlead` is the `fairlead` command; nothing else lives here. See cli/command.py."""

import sys

from fairlead.cli import main

sys.exit(main())
