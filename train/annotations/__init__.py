"""Annotations of a recording, by people or by programs, and the files that hold them."""
