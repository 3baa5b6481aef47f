"""The plugins that ship with bench: one idea a file, each an entry point of the group `bench`."""
