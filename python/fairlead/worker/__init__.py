"""A worker's process, `python -m fairlead.worker`: it loads the application and joins engine, runner and application.

Nothing here imports the master; what both have to agree on is control_protocol.py, statistics.py and locks.py beside
these folders.
"""
