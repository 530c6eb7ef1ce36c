"""The architectures of the source documents, one file each."""
