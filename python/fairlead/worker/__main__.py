"""`python -m fairlead.worker`: the program that the master starts. See start.py."""

import sys

from fairlead.worker.start import main

sys.exit(main())
