"""Structured logs on standard error, ours and the libraries': readable lines, or JSON."""

import logging
import sys
import traceback
from typing import Final

import structlog

from core.settings import Server

log = structlog.get_logger()

_LIBRARIES_LEAST: Final = logging.WARNING


def configure_logs(server: Server) -> None:
    """Send our events, and the libraries' warnings, to standard error; with the ids of the request that they are of."""
    threshold = logging.getLevelNamesMapping()[server.log_level.upper()]
    terminal = sys.stderr.isatty()
    text = server.log_format == "text" or (server.log_format == "auto" and terminal)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=terminal) if text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=max(threshold, _LIBRARIES_LEAST), handlers=[_Relay()], force=True)


class _Relay(logging.Handler):
    """Passes on what libraries log; an error by its kind and place, because its message may carry content."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a library's record as an event of ours."""
        error = record.exc_info[1] if record.exc_info else None
        more = {"error": type(error).__name__, "at": _place_of(error)} if error else {}
        log.log(record.levelno, record.getMessage().strip(), logger=record.name, **more)


def _place_of(error: BaseException) -> str:
    """Return the file and line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
