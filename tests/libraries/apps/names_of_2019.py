"""Names that Flask-uWSGI-WebSocket 0.6.1 imports and that have moved or gone since: `fairlead --import names_of_2019 …`

The package is not changed, and its applications need not be: this is imported before them.
"""

import asyncio
import functools
import inspect
import types

import flask.app
from flask.sansio.scaffold import setupmethod

#: Moved by Flask 3.0.
flask.app.setupmethod = setupmethod


def coroutine(function):
    """What asyncio.coroutine was until Python 3.11. The tasks of 3.12 take no generators any more, so this makes a
    coroutine of a generator function, where types.coroutine only makes it one that can be awaited."""
    if inspect.iscoroutinefunction(function):
        return function
    awaitable = types.coroutine(function)

    @functools.wraps(function)
    async def run(*args, **kwargs):
        return await awaitable(*args, **kwargs)

    return run


asyncio.coroutine = coroutine
