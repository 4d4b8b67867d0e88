"""Says in plain words why a passwordless login to PostgreSQL does not work, and what to do about it.

It changes nothing, and shows of a token only whom it is for and how long it lives.
"""

from __future__ import annotations

from tegata_credentials.doctor.examination import examine
from tegata_credentials.doctor.reasons import REASONS
from tegata_credentials.doctor.report import Check, Report

__all__ = ["REASONS", "Check", "Report", "examine"]
