"""Planning: what is up to date, what a run would do, and how long that would take. Nothing is downloaded or written."""
