"""From the address of a live source to frames and sound on the clock of the session."""
