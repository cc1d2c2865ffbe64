"""Assets: what exists, what it is made from, in sentences. Pixels and tensors live in the domain packages."""
