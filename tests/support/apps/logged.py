"""What a client chose, said in every way in which an application says something: logged, warned of, raised, as a
variable of the log, as the title of the process."""

import uwsgi
from fairlead import websocket


def application(environ, start_response):
    chosen = environ["PATH_INFO"]
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        with websocket(environ) as ws:
            raise ValueError(ws.receive())
    uwsgi.log(chosen)
    uwsgi.set_warning_message(chosen)
    uwsgi.set_logvar("chosen", chosen)
    uwsgi.setprocname(chosen)
    if chosen.startswith("/raise"):
        raise ValueError(chosen)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"said"]
