"""The demo's procedural flora, the survey drawn from it, and the small backbone that knows another's herbarium."""
