"""Measurements of engines: precision, plans, inputs."""
