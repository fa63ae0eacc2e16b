"""The made-up finished run of the tests of reports."""

from tests.eznas.reporting.conftest import finished_run

__all__ = ["finished_run"]
