"""One clock: frames on a grid, speech, and the window of each hop."""
