"""Signals arrive as bytes, and everything is as before afterwards."""

from __future__ import annotations

import os
import select
import signal

from fairlead.master.signals import SignalPipe, name_of


def test_signals_are_read_in_order_and_only_once():
    with SignalPipe() as pipe:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert select.select([pipe], [], [], 10)[0]
        assert pipe.read_nowait() == [signal.SIGHUP, signal.SIGTERM]
        assert pipe.read_nowait() == []


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with SignalPipe():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_signals_have_names():
    assert name_of(9) == "SIGKILL"
    assert name_of(200) == "signal 200"
