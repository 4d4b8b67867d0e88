"""The application of Plan B: FastAPI behind a load balancer that logs users in."""
