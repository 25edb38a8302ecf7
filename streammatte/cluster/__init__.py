"""Many videos: planned, journaled, worked on by processes that stay alive, reported."""
