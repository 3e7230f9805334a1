"""Applications of WSGI (PEP 3333): the call of one, its `wsgi.input`, and its response."""

from fairlead.apps.wsgi.caller import WsgiCaller

__all__ = ["WsgiCaller"]
