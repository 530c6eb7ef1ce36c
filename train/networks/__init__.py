"""The parts of recipes' networks: encoders, heads, pools, and pretrained weights."""
