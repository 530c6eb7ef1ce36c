"""Measurements that anyone can rerun: speed, latency, memory."""
