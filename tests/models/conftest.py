"""Fixtures of the tests that fetch."""

import pytest
from support.http_server import Server


@pytest.fixture
def server(monkeypatch):
    """A local HTTP server; pooch does not wait between attempts."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server = Server()
    yield server
    server.close()
