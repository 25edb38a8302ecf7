"""Fixtures that several test files share."""

import logging
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not here")
    return folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The samples that the project ships."""
    return Path(__file__).resolve().parents[1] / "samples"


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """The command line sets up logging for its process; the next test wants it as it was."""
    logger = logging.getLogger("streammatte")
    before = (list(logger.handlers), logger.propagate, logger.level)
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
