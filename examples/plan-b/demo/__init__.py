"""The chain of Plan B for a person to click through: `make demo-plan-b`."""
