"""Modules that let applications of other servers run unchanged, written over Fairlead's public names only."""
