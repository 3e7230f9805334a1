"""The settings: what an operator can say, where it may stand, and what comes of it.

options.py declares each setting, kinds.py and tls.py parse its value, sources.py reads them from command line, files
and environment, uwsgi.py answers uWSGI's other names. No setting has an effect here: master and worker take what they
need. Nothing here touches the machine but the files that are read.
"""
