"""Pages, and two WebSocket views beside them: one by uWSGI's calls, one by Fairlead's own.

    fairlead --http 127.0.0.1:8080 --chdir django_site --module mysite.wsgi --threads 64

In a WebSocket view all of Django is as usual: the session, cookies, the request. What the view returns goes nowhere,
but Django wants a response.
"""

from contextlib import suppress

import uwsgi
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST
from fairlead import ConnectionClosed, websocket


@require_GET
def page(request):
    return render(request, "page.html", {"name": request.session.get("name")})


@require_POST
def login(request):
    request.session["name"] = request.POST["name"]
    answer = redirect("page")
    answer.set_cookie("colour", request.POST["colour"])
    return answer


def welcome(request):
    name, colour = request.session.get("name", "stranger"), request.COOKIES.get("colour", "nothing")
    return f"Welcome {name}, you like {colour}"


def answer_to(request, words):
    if words == "fail":
        raise ValueError("asked to fail")
    return f"{request.session.get('name', 'stranger')}: {words}"


def by_uwsgi(request):
    uwsgi.websocket_handshake()
    uwsgi.websocket_send(welcome(request))
    while True:
        try:
            words = uwsgi.websocket_recv().decode()
        except OSError:  # the browser has left
            break
        if words == "bye":
            break
        uwsgi.websocket_send(answer_to(request, words))
    return HttpResponse()


def by_fairlead(request):
    # A visitor who vanishes without a Close raises; one who closes ends the loop.
    with suppress(ConnectionClosed), websocket(request.environ) as ws:
        ws.send(welcome(request))
        for words in ws:
            if words == "bye":
                break
            ws.send(words if isinstance(words, bytes) else answer_to(request, words))
    return HttpResponse()
