"""Which interface an application has, as far as can be seen without calling it: what no caller can call is told at the
start, in one sentence, and not with the first request.

Only what is sure is refused. A plain function may return anything, and is found out when it does.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

__all__ = ["WHEN_ASYNC", "why_not_callable"]

#: What an application is that only an asyncio loop can run, and the way out.
WHEN_ASYNC = "async def; start Fairlead with --asyncio N"

#: The parameters of an ASGI application; up to ASGI 2.x it took the first alone.
_ASGI = ("scope", "receive", "send")


def why_not_callable(application: Any, runs_coroutines: bool) -> str | None:
    """What is wrong with an application that is to be called as WSGI's are, as the rest of a sentence: "the application
    …"; None if nothing is known to be. `runs_coroutines`: there is an asyncio loop to run it."""
    try:
        is_async = _is_async(application) or _is_async(_function_of(application))
        is_asgi = _is_asgi(application, is_async)
    except Exception:
        return None  # a proxy for one that is not there yet, say: the first request will tell
    if is_asgi:
        return (
            "is an ASGI application, and Fairlead calls WSGI's, application(environ, start_response); give the WSGI "
            "application of your framework (Django: get_wsgi_application()), or serve it by an ASGI server"
        )
    if is_async and not runs_coroutines:
        return f"is {WHEN_ASYNC}"
    return None


def _function_of(application: Any) -> Any:
    """What runs when it is called: the function behind partials, or the method of an object."""
    while isinstance(application, functools.partial):
        application = application.func
    if inspect.isroutine(application) or inspect.isclass(application):
        return application
    return getattr(type(application), "__call__", application)  # noqa: B004 - it is looked at, not asked for


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_asgi(application: Any, is_async: bool) -> bool:
    try:
        parameters = inspect.signature(application).parameters.values()
    except (TypeError, ValueError):
        return False  # of another language
    needed = tuple(
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )
    takes_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return needed in (_ASGI, _ASGI[:1]) or (is_async and len(needed) == len(_ASGI) and not takes_more)
