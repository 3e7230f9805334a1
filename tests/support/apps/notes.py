"""How an app of the tests tells its test something: one line of JSON on standard error, named by the
request's token.

The token is the query string (or its part before `&`), so that one server can serve many tests at once.
`outcome` turns what a call returned or raised into plain data, so that a test can compare types and texts
literally.
"""

import json
import os


def token_of(environ):
    return environ["QUERY_STRING"].split("&")[0]


def argument(environ, default=""):
    """What follows the token in the query string."""
    return environ["QUERY_STRING"].partition("&")[2] or default


def note(environ, **values):
    os.write(2, f"note:{token_of(environ)} {json.dumps(values, default=repr)}\n".encode())


def outcome(call, *arguments, **keywords):
    try:
        value = call(*arguments, **keywords)
    except Exception as error:
        return {
            "raised": type(error).__name__,
            "text": str(error),
            "is_oserror": isinstance(error, OSError),
            "errno": getattr(error, "errno", None),
        }
    return {"type": type(value).__name__, "value": repr(value)}
