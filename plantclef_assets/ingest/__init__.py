"""Ingest: from metadata files and sources of photographs to typed tables, manifests and shards of photographs."""
