"""`fairlead OPTION...`: read the settings, check them against this machine, run the master.

No option is known here by name except those that print something; parsing is settings/sources.py, what is printed is
help.py, and what can be told without running the app's code is checks.py. The invariant: a bad option, file, module or
callable is an error of one sentence, all of them are told at once, and before any worker starts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from fairlead.cli.checks import problems_of
from fairlead.cli.help import config_text, help_text
from fairlead.cli.output import complain, show
from fairlead.errors import SettingsError
from fairlead.logs import Log, one_record
from fairlead.master.master import Master
from fairlead.settings.effects import remarks
from fairlead.settings.options import VERSION, Settings
from fairlead.settings.sources import read_all


def serve(arguments: Sequence[str]) -> int:
    """Start an instance and serve until it is stopped, or print what was asked for; returns the exit status.

    Raises SettingsError, with all that the operator has to mend; MasterError or LoadError for what only a start can
    tell.
    """
    reading = read_all(arguments, os.environ)
    if "help" in reading.asked:
        show(help_text(shutil.get_terminal_size((100, 24)).columns))
        return 0
    if "version" in reading.asked:
        show(f"fairlead {VERSION}")
        return 0
    settings, problems = Settings.read(reading.given, reading.magic, reading.refused)
    is_shown = "show-config" in reading.asked
    # Under --py-autoreload a worker tells of a broken file, and waits until it is mended.
    problems = [*reading.problems, *problems]
    problems += problems_of(settings, compiles=is_shown or not settings.py_autoreload_s)
    sentences = [*reading.warnings, *remarks(settings)]
    if is_shown:
        show(config_text(reading, settings))
        for sentence in sentences:
            complain(f"fairlead: warning: {one_record(sentence)}")
    if problems:
        raise SettingsError(*dict.fromkeys(problems))
    if is_shown:
        return 0
    log = Log()
    for sentence in sentences:
        log.warning(sentence)
    try:
        return Master(settings, log).run()
    finally:
        log.finish()
