"""The protocols of the source documents, run on data at hand."""
