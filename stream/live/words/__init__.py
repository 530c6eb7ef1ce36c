"""Words recognised in live speech."""
