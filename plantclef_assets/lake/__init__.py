"""The lake: artifacts as files, the schemas of tables, provenance, SQL over all tables, cleaning and verification."""
