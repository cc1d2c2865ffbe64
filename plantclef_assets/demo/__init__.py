"""The demo's procedural flora, the survey drawn from it, and the small backbone pretrained on another flora."""
