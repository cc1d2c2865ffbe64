"""Ingest: from a CSV and folders of photographs to manifests and shards."""
