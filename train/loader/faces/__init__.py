"""Pictures to train the embedded face detector and landmarks on: canvases with pasted faces, and squares."""
