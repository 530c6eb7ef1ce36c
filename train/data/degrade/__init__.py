"""What bad cameras, microphones, rooms and transcripts do to faces, voices and words."""
