"""What can be seen of an application before it is called, and what is said of one that nobody could call."""

from __future__ import annotations

import functools

import pytest
from fairlead.apps import why_not_callable


def plain(environ, start_response):
    return []


def generator(environ, start_response):
    yield b""


async def coroutine(environ, start_response):
    return []


async def async_generator(environ, start_response):
    yield b""


async def asgi(scope, receive, send):
    await send({})


async def asgi_by_other_names(scope_, receive_, send_, more=None):
    await send_({})


def wrapped_asgi(scope, receive, send):
    return asgi(scope, receive, send)


def asgi_2(scope):
    return functools.partial(asgi, scope)


def with_more(environ, start_response, more=None):
    return []


async def takes_anything(*arguments):
    return []


class Plain:
    def __call__(self, environ, start_response):
        return []


class Coroutine:
    async def __call__(self, environ, start_response):
        return []


class Asgi:
    async def __call__(self, scope, receive, send):
        await send({})

    def method(self, environ, start_response):
        return []

    async def coroutine(self, environ, start_response):
        return []


class Unseen:
    """As a proxy whose object is not there yet."""

    def __call__(self, environ, start_response):
        return []

    @property
    def __signature__(self):
        raise RuntimeError("not yet")


@functools.wraps(coroutine)
def decorated(environ, start_response):
    return []


PLAIN = (
    plain,
    generator,
    with_more,
    Plain(),
    Plain,
    Asgi().method,
    functools.partial(with_more, more=1),
    decorated,
    map,
    Unseen(),
)
ASYNC = (
    coroutine,
    async_generator,
    takes_anything,
    Coroutine(),
    Asgi().coroutine,
    functools.partial(coroutine),
    functools.partial(functools.partial(Coroutine())),
    functools.partial(asgi_by_other_names, None),
)
ASGI = (asgi, asgi_by_other_names, wrapped_asgi, asgi_2, Asgi(), functools.partial(Asgi()))


@pytest.mark.parametrize("application", PLAIN)
@pytest.mark.parametrize("runs_coroutines", [False, True])
def test_nothing_is_said_of_a_plain_application(application, runs_coroutines):
    assert why_not_callable(application, runs_coroutines) is None


@pytest.mark.parametrize("application", ASYNC)
def test_one_that_is_async_needs_a_loop(application):
    assert why_not_callable(application, False) == "is async def; start Fairlead with --asyncio N"
    assert why_not_callable(application, True) is None


@pytest.mark.parametrize("application", ASGI)
@pytest.mark.parametrize("runs_coroutines", [False, True])
def test_one_of_asgi_s_is_told_apart(application, runs_coroutines):
    why = why_not_callable(application, runs_coroutines)
    assert why is not None and why.startswith("is an ASGI application, and Fairlead calls WSGI's")
