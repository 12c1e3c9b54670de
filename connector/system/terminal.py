"""Text that comes from a terminal and goes to it, whatever its encoding is."""

import io
import os
import sys


def never_fail_on_a_character() -> None:
    r"""Make standard output and error write ``\xe9`` for a character that the terminal's encoding lacks.

    Without it a line that cannot be encoded raises UnicodeEncodeError, after the work it tells of was done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def begin_again_in_utf8(module: str) -> None:
    """Start this process anew with ``python -X utf8 -m module`` if Python took the C locale for ASCII.

    It does so where PYTHONUTF8=0 or PYTHONCOERCECLOCALE=0 is set. Arguments and paths with any other character would
    reach neither a request nor DuckDB.
    """
    if sys.getfilesystemencoding() == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-m", module, *sys.argv[1:]])  # noqa: S606  ourselves
