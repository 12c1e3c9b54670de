"""Helpers on top of the operating system: private files, locks between processes, prefetching threads, terminals."""
