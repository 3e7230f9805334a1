"""What the outer tests share: the server as a process, a WebSocket client that may lie, and the apps to
serve.

Nothing here is a test and nothing here imports Fairlead: the outer tests see the command line and the wire
only. Every wait has a time-out and an end in sight (a line, a frame, an end of file); nothing sleeps, and no
port is guessed.
"""
