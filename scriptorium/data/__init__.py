"""Text to ids to batches: named corpora, your own files, vocabularies."""
