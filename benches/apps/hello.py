"""The smallest honest WSGI response (PEP 3333): status, two headers, one short body. All servers of
the plain HTTP rows run this file.
"""

BODY = b"Hello, world\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def application(environ, start_response):
    start_response("200 OK", HEADERS)
    return [BODY]
