"""What `benches/run.py` is made of, standard library only. `workloads` says what is measured and
which bars apply, `servers` starts and stops whatever is measured, `clients` runs one load and
returns one sample, `contest` turns samples into comparable rounds, `report` writes them down.
Nothing here knows Fairlead beyond its command line.
"""
