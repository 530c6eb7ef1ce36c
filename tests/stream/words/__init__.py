"""Tests of `stream.words`."""
