"""From a file to frames and sound with times on one clock."""
