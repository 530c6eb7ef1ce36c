"""Words with times: transcript files, tracks inside a recording, and transcripts alone."""
