"""Results as tiers of annotations, in the formats of annotation tools."""
