"""What a bundle does on real recordings: one section for each promise (see `section_list`)."""
