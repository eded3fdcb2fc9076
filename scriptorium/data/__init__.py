"""Text to ids to batches: corpora by name, files of a user, vocabularies."""
