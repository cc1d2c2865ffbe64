"""What all assets share: how they are declared, materialized, checked, grouped into jobs and requested."""
