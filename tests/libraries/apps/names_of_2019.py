"""Names that Flask-uWSGI-WebSocket 0.6.1 imports and that have moved or gone since: `fairlead --import names_of_2019 …`

The package is not changed, and its applications need not be: this is imported before them.
"""

import asyncio
import types

import flask.app
from flask.sansio.scaffold import setupmethod

#: Moved by Flask 3.0.
flask.app.setupmethod = setupmethod
#: Gone with Python 3.11. What it made of a generator function can be awaited.
asyncio.coroutine = types.coroutine
