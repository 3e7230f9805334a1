"""What the public exceptions carry and say."""

from __future__ import annotations

import pickle

import pytest
from fairlead.errors import ConnectionClosed, FairleadError, HandshakeRefused, hint_for


def test_connection_closed_says_who_closed_with_which_code():
    error = ConnectionClosed(1001, "going away", "peer")
    assert (error.code, error.reason, error.by) == (1001, "going away", "peer")
    assert str(error) == "the peer closed the connection (code 1001, reason 'going away')"
    assert str(ConnectionClosed(1006, "", "lost")) == "the connection was lost (code 1006)"
    with pytest.raises(ValueError):
        ConnectionClosed(1000, "", "nobody")


def test_errors_survive_pickling():
    for error in (ConnectionClosed(1000, "", "local"), HandshakeRefused(426, "version 8 is not 13")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, FairleadError) and str(again) == str(error)


def test_only_a_missing_uwsgi_gets_the_hint():
    assert "import uwsgi" in hint_for(NameError("name 'uwsgi' is not defined"))
    assert hint_for(NameError("name 'other' is not defined")) == hint_for(ValueError("'uwsgi'")) == ""
