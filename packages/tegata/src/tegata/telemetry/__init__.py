"""What is told about the running server: logs that redact, and the audit trail."""
