"""From packets to frames and sound with times that can be trusted."""
