"""Says in plain words why a login to PostgreSQL or a secret does not work, and what to do about it.

It changes nothing, shows of a token only whom it is for and how long it lives, and of a secret which version it is.
"""

from __future__ import annotations

from tegata_credentials.doctor.examination import examine
from tegata_credentials.doctor.reasons import REASONS
from tegata_credentials.doctor.report import Check, Report
from tegata_credentials.doctor.secret_store import examine_secrets

__all__ = ["REASONS", "Check", "Report", "examine", "examine_secrets"]
