"""The folder that holds one recognizer: read, checked, opened, changed."""
