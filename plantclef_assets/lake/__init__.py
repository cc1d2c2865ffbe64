"""The lake: where artifacts lie, what their tables hold, where they come from, and how to ask questions of them."""
