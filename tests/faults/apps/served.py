"""Reads its request's body, notes the path, and answers with all paths so far. Who sends a body slowly keeps a slot."""

served: list[str] = []


def application(environ, start_response):
    environ["wsgi.input"].read()
    served.append(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(served).encode()]
