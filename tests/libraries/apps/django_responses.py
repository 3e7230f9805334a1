"""Each kind of response that Django knows, and a database with Django's admin: a whole site in one file.

SITE_DATABASE=/tmp/site.sqlite3 fairlead --http 127.0.0.1:8080 --wsgi-file django_responses.py --threads 64
"""

import io
import os
import sys

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="signs the sessions",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DATABASE"]}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    STATIC_URL="/static/",
    USE_TZ=True,
)
django.setup()

from django import http  # noqa: E402 - after the settings
from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.template import engines  # noqa: E402
from django.template.response import TemplateResponse  # noqa: E402
from django.urls import path  # noqa: E402

call_command("migrate", verbosity=0)
User.objects.filter(username="admin").exists() or User.objects.create_superuser("admin", password="secret")


def pieces():
    for number in range(3):
        yield b"%d," % number


async def pieces_async():
    for piece in pieces():
        yield piece


class Closing:
    """An iterator that says when it was closed."""

    def __init__(self):
        self.items = pieces()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        print("closed by django", file=sys.stderr, flush=True)


def rows(request):
    """What the database has, and a row more."""
    name = request.GET["name"]
    User.objects.create_user(name)
    return http.HttpResponse(User.objects.get(username=name).username)


def streamed_rows(request):
    """The database is asked while the response is sent."""
    names = User.objects.filter(username="admin").values_list("username", flat=True)
    return http.StreamingHttpResponse(f"{name}," for name in names.iterator())


async def coroutine(request):
    user = await User.objects.aget(username="admin")
    return http.HttpResponse(f"by a coroutine for {user.username}")


VIEWS = {
    "plain": lambda request: http.HttpResponse("plain"),
    "parts": lambda request: http.HttpResponse([b"pl", "ain"]),
    "stream": lambda request: http.StreamingHttpResponse(pieces()),
    "stream_async": lambda request: http.StreamingHttpResponse(pieces_async()),
    "closing": lambda request: http.StreamingHttpResponse(Closing()),
    "file": lambda request: http.FileResponse(open(__file__, "rb")),  # noqa: SIM115 - Django closes it
    "bytes_file": lambda request: http.FileResponse(io.BytesIO(b"in memory")),
    "json": lambda request: http.JsonResponse({"a": 1}),
    "redirect": lambda request: http.HttpResponseRedirect("/plain"),
    "moved": lambda request: http.HttpResponsePermanentRedirect("/plain"),
    "not_modified": lambda request: http.HttpResponseNotModified(),
    "no_content": lambda request: http.HttpResponse(status=204),
    "reset": lambda request: http.HttpResponse("a body", status=205),
    "bad": lambda request: http.HttpResponseBadRequest("bad"),
    "forbidden": lambda request: http.HttpResponseForbidden("forbidden"),
    "missing": lambda request: http.HttpResponseNotFound("missing"),
    "not_allowed": lambda request: http.HttpResponseNotAllowed(["POST"]),
    "gone": lambda request: http.HttpResponseGone("gone"),
    "failed": lambda request: http.HttpResponseServerError("failed"),
    "template": lambda request: TemplateResponse(
        request, engines["django"].from_string("for {{ name }}"), {"name": "you"}
    ),
    "rows": rows,
    "streamed_rows": streamed_rows,
    "coroutine": coroutine,
}

urlpatterns = [
    path("admin/", admin.site.urls),
    *(path(name, view) for name, view in VIEWS.items()),
    path("version", lambda request: http.HttpResponse(django.get_version())),
]

application = get_wsgi_application()
