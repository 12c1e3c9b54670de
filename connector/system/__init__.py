"""What the operating system gives: private files, locks between processes, threads that prefetch."""
