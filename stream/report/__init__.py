"""The report of one recording: a page that a person looks at, and the numbers in it."""
