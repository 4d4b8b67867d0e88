"""Builds what is deployed: the zip files of the rotation function on AWS Lambda."""
