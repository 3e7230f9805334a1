"""The master's process: it owns what outlives a worker (listeners, certificates, the channels' region), and starts
workers.

Nothing here may import an application, what runs one, or the engine; the region of the channels is the one thing of the
engine that the master holds. So nothing that an application does can reach it.
"""
