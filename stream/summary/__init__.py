"""What was found across a folder of scored recordings: a table, and a page."""
