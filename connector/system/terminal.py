"""Text from and to a terminal of any encoding."""

import io
import os
import sys


def never_fail_on_a_character() -> None:
    r"""Make standard output and error write ``\xe9`` for a character that the terminal's encoding lacks.

    Otherwise such a line raises UnicodeEncodeError, after the work that it reports was done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def begin_again_in_utf8(module: str) -> None:
    """Start this process again as ``python -X utf8 -m module`` if Python uses ASCII for the C locale.

    Python does that where PYTHONUTF8=0 or PYTHONCOERCECLOCALE=0 is set. Arguments and paths with other characters
    would then reach neither a request nor DuckDB.
    """
    if sys.getfilesystemencoding() == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", module, *sys.argv[1:]])  # noqa: S606  ourselves
