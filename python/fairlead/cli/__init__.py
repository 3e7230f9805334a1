"""The `fairlead` command: command.py finds out which one is meant, and each has a file of its own.

serve.py starts an instance, help.py is what it prints about options; publish.py and channels.py talk to a running one,
by outside.py.
"""

from fairlead.cli.command import main

__all__ = ["main"]
