"""What libraries log becomes events of ours, without what their errors say."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from cli.logs import configure_logs
from core.settings import Server


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    clear_contextvars()


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_librarys_error_is_named_by_kind_and_place(capsys):
    configure_logs(Server(log_format="json"))
    try:
        int("what somebody remembered")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    [line] = logged(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("Exception in ASGI application", "uvicorn.error", "error")
    assert line["error"] == "ValueError"
    assert str(line["at"]).startswith(f"{__file__}:")
    assert "remembered" not in json.dumps(line)


def test_a_library_is_heard_from_warnings_up(capsys):
    configure_logs(Server(log_format="json", log_level="debug"))
    logging.getLogger("celery").info("Hello")
    logging.getLogger("celery").warning("Hello %s", "again")
    assert [line["event"] for line in logged(capsys)] == ["Hello again"]


def test_an_event_bears_the_ids_of_its_request(capsys):
    configure_logs(Server(log_format="json"))
    bind_contextvars(request_id="req_1", job_id="job_2")
    structlog.get_logger().warning("request_failed", code="integrity")
    [line] = logged(capsys)
    assert {"request_id": "req_1", "job_id": "job_2", "code": "integrity"}.items() <= line.items()


def test_text_is_for_people(capsys):
    configure_logs(Server(log_format="text"))
    structlog.get_logger().warning("request_failed", code="integrity")
    said = capsys.readouterr().err
    assert "request_failed" in said
    assert "code=integrity" in said
    assert not said.startswith("{")
