"""ministack as a peer. The name hides the installed package, which only runs in its own process."""
