"""How the cost of the work grows: with faces in view, resolution, duration and sessions."""
