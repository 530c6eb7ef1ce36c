"""The parts of a bundle one by one: its face detector, its encoders of faces and voices."""
