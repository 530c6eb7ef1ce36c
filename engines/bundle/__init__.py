"""Bundles: folders that contain one recognizer. Reading, checking, opening and changing them."""
