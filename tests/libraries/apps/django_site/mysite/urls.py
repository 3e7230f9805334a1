"""Which view serves which path; a WebSocket is a view like the others."""

from django.urls import path

from mysite import views

urlpatterns = [
    path("", views.page, name="page"),
    path("login", views.login, name="login"),
    path("ws/uwsgi", views.by_uwsgi),
    path("ws/fairlead", views.by_fairlead),
]
