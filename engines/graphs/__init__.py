"""What any graph can be asked: its arithmetic, its batch sizes, and how far two of its runs differ."""
