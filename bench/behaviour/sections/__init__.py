"""The sections: one file for each promise that is measured."""
